users =
{
	ann = "password of ann",
}
