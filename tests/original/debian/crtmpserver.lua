-- A loader in the shape of the one in Debian's package: the files beside it have the rest.
etc = "/etc/crtmpserver"
lib = "/usr/lib/crtmpserver"

enabled = etc.."/enabled_applications.conf"
appenders = etc.."/log_appenders.lua"

function is_there(name)
	local file = io.open(name, "r")
	if (file) then
		return true
	end
	return false
end

function load_appenders()
	dofile(appenders)
	return logAppenders
end

function load_applications()
	local all = {}
	all.rootDirectory = lib.."/applications"
	for name in io.lines(enabled) do
		name = (name:gsub("^%s*(.-)%s*$", "%1"))
		application = nil
		if (name:match("^#.*$") or name:match("^$") or name:match("^\s+$")) then
			-- nothing to load
		else
			local file = etc.."/applications/"..name..".lua"
			if (not is_there(file)) then
				print("There is no '"..file.."'")
				os.exit()
			end
			dofile(file)
			if (application == nil) then
				print("'"..file.."' defines no 'application'")
				os.exit()
			else
				table.insert(all, application)
			end
		end
	end
	return all
end

if (not is_there(appenders)) then
	print("There is no '"..appenders.."'");
	return
end

if (not is_there(enabled)) then
	print("There is no '"..enabled.."'");
	return
end

configuration =
{
	daemon = true,
	pathSeparator = "/",
	logAppenders = load_appenders(),
	applications = load_applications()
}
