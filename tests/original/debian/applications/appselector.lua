application =
{
	name = "appselector",
	description = "Hands connections over",
	protocol = "dynamiclinklibrary",
	validateHandshake = true,
	default = true,
	acceptors =
	{
		{
			ip = "0.0.0.0",
			port = 1935,
			protocol = "inboundRtmp"
		},
	}
}
