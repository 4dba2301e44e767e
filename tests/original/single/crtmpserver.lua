-- A configuration in the shape of the one that the original installed, as a single file.
configuration =
{
	daemon=false,
	pathSeparator="/",
	instancesCount=0,

	logAppenders=
	{
		{
			name="to the terminal",
			type="coloredConsole",
			level=6
		},
		{
			name="to a file",
			type="file",
			level=6,
			fileName="logs/crtmpserver",
			newLineCharacters="\n",
			fileHistorySize=10,
			fileLength=1024*1024,
			singleLine=true
		}
	},

	applications=
	{
		rootDirectory="applications",
		{
			description="Hands connections over to the application that they name",
			name="appselector",
			protocol="dynamiclinklibrary",
			validateHandshake=false,
			default=true,
			acceptors =
			{
				{
					ip="0.0.0.0",
					port=1935,
					protocol="inboundRtmp"
				},
				{
					ip="0.0.0.0",
					port=8081,
					protocol="inboundRtmps",
					sslKey="server.key",
					sslCert="server.crt"
				},
				{
					ip="0.0.0.0",
					port=8080,
					protocol="inboundRtmpt"
				},
			}
		},
		{
			description="Plays files, and what is live",
			name="flvplayback",
			protocol="dynamiclinklibrary",
			aliases=
			{
				"simpleLive",
				"vod",
				"live",
				"WeeklyQuest",
				"SOSample",
				"oflaDemo",
			},
			acceptors =
			{
				{
					ip="0.0.0.0",
					port=6666,
					protocol="inboundLiveFlv",
					waitForMetadata=true,
				},
				{
					ip="0.0.0.0",
					port=9999,
					protocol="inboundTcpTs"
				},
				--[[
				{
					ip="0.0.0.0",
					port=5544,
					protocol="inboundRtsp"
				},
				]]--
			},
			mediaStorage =
			{
				namedStorage1=
				{
					description="Where the films are",
					mediaFolder="./media",
					metaFolder="./meta",
					enableStats=false,
					keyframeSeek=true,
					clientSideBuffer=15,
					seekGranularity=0.1,
					externalSeekGenerator=false,
				},
			},
			validateHandshake=false,
			rtcpDetectionInterval=15,
			hasStreamAliases=false,
			enableCheckBandwidth=true,
			maxRtmpOutBuffer=512*1024,
			externalStreams =
			{
				{
					uri="rtmp://studio.example.org/live/news?key=a",
					localStreamName="news",
					keepAlive=true,
					swfUrl="http://studio.example.org/player.swf",
					pageUrl="http://studio.example.org/",
					tcUrl="rtmp://studio.example.org/live",
					emulateUserAgent="MAC 10,1,82,76",
					rangeStart=-2,
					rangeEnd=-1,
				},
				{
					uri="rtsp://ann:secret word@camera.example.org/stream1",
					localStreamName="camera",
					forceTcp=true
				}
			},
			authentication=
			{
				rtmp={
					type="adobe",
					encoderAgents=
					{
						"FMLE/3.0 (compatible; FMSc/1.0)",
					},
					usersFile="users.lua"
				},
				rtsp={
					usersFile="users.lua",
					authenticatePlay=false,
				}
			},
		},
		{
			name="samplefactory",
			description="Protocols of one's own",
			protocol="dynamiclinklibrary",
			aliases={ "httpOutboundTest" },
			acceptors =
			{
				{ ip="0.0.0.0", port=8989, protocol="httpEchoProtocol" },
				{ ip="0.0.0.0", port=8988, protocol="echoProtocol" }
			},
			validateHandshake=true,
		},
		{
			name="vptests",
			description="Calls",
			protocol="dynamiclinklibrary",
			aliases={ "vptests_alias1" },
			acceptors = { { ip="0.0.0.0", port=1111, protocol="inboundHttpXmlVariant" } },
			validateHandshake=true,
		},
		{
			name="admin",
			description="Asks what goes on",
			protocol="dynamiclinklibrary",
			aliases={ "admin_alias1" },
			acceptors =
			{
				{ ip="127.0.0.1", port=1112, protocol="inboundJsonCli", useLengthPadding=false },
			}
		},
		{
			name="proxypublish",
			description="Passes streams on",
			protocol="dynamiclinklibrary",
			acceptors =
			{
				{ ip="0.0.0.0", port=6665, protocol="inboundLiveFlv" },
			},
			abortOnConnectError=true,
			targetServers =
			{
				{
					targetUri="rtmp://relay.example.org/live",
					targetStreamType="live",
					emulateUserAgent="FMLE/3.0 (compatible; FMSc/1.0)",
					localStreamName="news",
					targetStreamName="news-again",
					keepAlive=true
				},
				{
					targetUri="rtmp://ann:secret@archive.example.org/record",
					targetStreamType="record",
					keepAlive=true
				},
			},
			validateHandshake=true,
		},
		{
			name="stresstest",
			description="Many viewers",
			protocol="dynamiclinklibrary",
			targetServer="localhost",
			targetApp="vod",
			active=false,
			numberOfConnections=10,
			randomAccessStreams=false,
			streams={ "lg00", "lg01" }
		},
	}
}
