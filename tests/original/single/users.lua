users=
{
	ann="password of ann",
	bob="bob",
}

realms=
{
	{
		name="Cameras",
		method="Digest",
		users={ "ann" },
	},
}
