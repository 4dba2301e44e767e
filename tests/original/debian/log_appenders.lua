logAppenders =
{
	{
		name = "file appender",
		type = "file",
		level = 3,
		fileName = "/var/log/crtmpserver/crtmpserver.log"
	}
}
