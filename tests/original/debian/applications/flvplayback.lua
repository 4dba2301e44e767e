application=
{
	description="Files, and what is live",
	name="flvplayback",
	protocol="dynamiclinklibrary",
	mediaFolder="/var/lib/crtmpserver/mediaFolder",
	aliases=
	{
		"simpleLive",
		"vod",
		"live",
	},
	acceptors =
	{
		{
			ip="0.0.0.0",
			port=6666,
			protocol="inboundLiveFlv",
			waitForMetadata=true,
		},
	},
	validateHandshake=false,
	keyframeSeek=false,
	seekGranularity=0.1, --in seconds
	clientSideBuffer=30, --in seconds
	generateMetaFiles=true,
	renameBadFiles=false,
	authentication=
	{
		rtmp=
		{
			type="adobe",
			encoderAgents={ "FMLE/3.0 (compatible; FMSc/1.0)" },
			usersFile="/etc/crtmpserver/conf.d/users.lua"
		}
	},
}
