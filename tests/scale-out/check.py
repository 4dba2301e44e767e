#!/usr/bin/env python3
"""Checks what image/ has for clouds and clusters, none of which can be had here: user-data by cloud-init's
own schema, Kubernetes' manifests by its schemas, Terraform's files parsed and formatted; and each of them
against the program that it starts, and the metrics that it asks for.

    tests/scale-out/check.py PROGRAM MIRRORS-PROGRAM

Modules that are missing make their tests be skipped. tests/scale-out/run gets them.
"""

import base64
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
IMAGE = ROOT / "image"
USER_DATA = [IMAGE / "cloud-init/mirror.yaml", IMAGE / "cloud-init/master.yaml"]
# What stands for the secret in all of them: what `base64 -w0` makes of SECRET-OF-THE-MASTER.
SECRET = base64.b64encode(b"SECRET-OF-THE-MASTER").decode()
SECRETS = ["crtmpserver.users", "crtmpserver.secret"]
CLOUDS = [IMAGE / "terraform/openstack", IMAGE / "terraform/aws"]
PROGRAM, MIRROR = sys.argv[1:3]


class Skip(Exception):
    """Why a test cannot be run here."""


def run(*words, **how):
    done = subprocess.run(words, capture_output=True, text=True, **how)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def documents(path):
    return [d for d in yaml.safe_load_all(path.read_text()) if d]


def metrics():
    """The names that Prometheus sees; a counter's ends in _total."""
    names = re.findall(r"^\| `(\w+)`", (ROOT / "docs/metrics.md").read_text(), re.M)
    return set(names) | {name + "_total" for name in names}


def metrics_named(text):
    """Those in a query, but for what the file itself makes of them."""
    made = set(re.findall(r"as: (\w+)", text))
    return set(re.findall(r"\bcrtmpserver_\w+", text)) - made


def cloud_init_takes_the_user_data():
    try:
        import cloudinit  # noqa: F401
    except ImportError:
        raise Skip("needs cloud-init")
    for path in [*USER_DATA, IMAGE / "cloud-init/override.yaml"]:
        said = run(sys.executable, "-m", "cloudinit.cmd.main", "schema", "--config-file", str(path))
        assert "Valid" in said, said
    with tempfile.TemporaryDirectory() as folder:
        # What an image has of its own is looked at together with the user-data, and complaints about it would
        # hide those about that.
        images_own = Path(folder) / "images-own.yaml"
        own = IMAGE / "common/mkosi.extra/etc/cloud/cloud.cfg.d/90-crtmpserver.cfg"
        images_own.write_text("#cloud-config\n" + own.read_text())
        said = run(sys.executable, "-m", "cloudinit.cmd.main", "schema", "--config-file", str(images_own))
        assert "Valid" in said, said
        assert "users-groups" not in sum((v for k, v in yaml.safe_load(own.read_text()).items() if "modules" in k), [])
        # It can say no.
        for text in [
            USER_DATA[0].read_text().replace("package_update: true", "package_update: soon"),
            images_own.read_text() + "users: []\n",
        ]:
            file = Path(folder) / "wrong.yaml"
            file.write_text(text)
            done = subprocess.run(
                [sys.executable, "-m", "cloudinit.cmd.main", "schema", "--config-file", str(file)],
                capture_output=True,
                text=True,
            )
            assert done.returncode != 0, (text, done.stdout)


def an_image_tells_of_user_data_that_is_wrong():
    script = (IMAGE / "common/mkosi.extra/usr/lib/crtmpserver-image/user-data-read").read_text()
    begins = "2026-11-23 09:00:00,000 - util.py[DEBUG]: Cloud-init v. 22.4.2 running 'init-local' at Mon.\n"
    loaded = "2026-11-23 09:00:09,000 - stages.py[INFO]: Loaded datasource DataSource{0} - DataSource{0}\n"
    warning = "2026-11-23 09:00:10,000 - {}[WARNING]: {}\n"
    module = warning.format("util.py", "Running module write-files (<module 'x' from '/y.py'>) failed")
    schema = warning.format("schema.py", "Invalid cloud-config provided: Please run 'sudo cloud-init schema --system'")
    yaml_wrong = warning.format("__init__.py", "Failed loading yaml blob. Invalid format at line 2")
    for log, found, wanted in [
        (begins + loaded.format("OpenStackLocal"), "OpenStack, None", None),
        (begins + loaded.format("NoCloud") + yaml_wrong, "NoCloud, None", "the user-data cannot be read"),
        (begins + loaded.format("NoCloud") + schema + module, "NoCloud, None", "(write_files) cannot all be written"),
        (begins + loaded.format("NoCloud") + schema, "NoCloud, None", "not what cloud-init knows"),
        (begins + loaded.format("None"), "OpenStack, None", "the provider (OpenStack) did not answer"),
        (begins + loaded.format("None"), "None", None),
        (begins + loaded.format("None"), None, None),
        # Of an earlier start.
        (begins + schema + loaded.format("None") + begins + loaded.format("Ec2Local"), "Ec2, None", None),
    ]:
        with tempfile.TemporaryDirectory() as folder:
            here = Path(folder)
            (here / "log").write_text(log)
            if found is not None:
                (here / "found").write_text(f"datasource_list: [ {found} ]\n")
            own = script
            for there, name in [
                ("/var/log/cloud-init.log", "log"),
                ("/run/cloud-init/cloud.cfg", "found"),
                ("/run/credstore", "credstore"),
            ]:
                assert own.count(there) == 1, there
                own = own.replace(there, str(here / name))
            said = run("sh", "-c", own)
            note = here / "credstore/crtmpserver.note"
            text = note.read_text() if note.exists() else None
            assert said == "" and (text is None) == (wanted is None), (log, found, text)
            assert wanted is None or wanted in text and text.count("\n") == 1, (wanted, text)


def the_user_data_makes_a_server_that_starts():
    for path, program in zip(USER_DATA, [MIRROR, PROGRAM]):
        (data,) = documents(path)
        assert path.read_text().startswith("#cloud-config\n")
        with tempfile.TemporaryDirectory() as folder:
            credentials = Path(folder) / "credentials"
            conf = Path(folder) / "etc/conf.d"
            credentials.mkdir()
            conf.mkdir(parents=True)
            (Path(folder) / "etc/crtmpserver.toml").write_text((ROOT / "etc/crtmpserver.toml").read_text())
            for file in data["write_files"]:
                where, content = Path(file["path"]), file["content"]
                if file.get("encoding") == "b64":
                    content = base64.b64decode(content).decode()
                content = content.replace("USERS-OF-THE-MASTER", "").replace("SECRET-OF-THE-MASTER", "s" * 40)
                # Plain, YAML would cut a secret at ` #`, and make a number of one of digits.
                assert where.name not in SECRETS or file["encoding"] == "b64", where
                if where.parent.name == "credstore":
                    (credentials / where.name).write_text(content)
                    if where.name != "crtmpserver.master":
                        assert file["permissions"] == "0600", where
                if where.parent.name == "conf.d":
                    (conf / where.name).write_text(content)
            said = run(
                program,
                "check",
                str(Path(folder) / "etc/crtmpserver.toml"),
                env={"CREDENTIALS_DIRECTORY": str(credentials)},
            )
            assert path.stem in said, said
            assert path.stem != "mirror" or "rtmp://master.example.org" in said, said


def the_user_data_speaks_of_what_the_packages_have():
    for path, package in zip(USER_DATA, ["crtmpserver-mirror", "crtmpserver"]):
        (data,) = documents(path)
        assert package in data["packages"]
        (command,) = data["runcmd"]
        unit = re.sub(r"@\w+", "@", command[-1])
        assert (ROOT / "systemd" / unit).exists(), unit
        assert (ROOT / "systemd/nftables" / f"{path.stem}.nft").exists()
        unit = (ROOT / "systemd/crtmpserver.service").read_text()
        for file in data["write_files"]:
            where = Path(file["path"])
            if where.parent.name == "credstore":
                assert f"LoadCredential={where.name}\n" in unit, where
    # What closes a master in is said twice, since the package is not there yet when this is written.
    settings = lambda text: [l for l in text.splitlines() if l and not l.startswith("#")]
    (given,) = [f["content"] for f in data["write_files"] if "/crtmpserver.service.d/" in f["path"]]
    assert settings(given) == settings((ROOT / "systemd/profiles/master.conf").read_text())


def terraform_reads_its_files():
    try:
        import hcl2
    except ImportError:
        raise Skip("needs python-hcl2")
    for cloud in CLOUDS:
        whole = "".join(path.read_text() for path in sorted(cloud.glob("*.tf")))
        for path in cloud.glob("*.tf"):
            with path.open() as file:
                assert hcl2.load(file), path
        declared = set(re.findall(r'^variable "(\w+)"', whole, re.M))
        used = set(re.findall(r"\bvar\.(\w+)", whole))
        assert declared == used, (cloud, declared ^ used)
        for kind, name in re.findall(r"\b((?:aws|openstack)_\w+)\.(\w+)", whole):
            assert f'"{kind}" "{name}"' in whole, (cloud, kind, name)
        for name in set(re.findall(r"\blocal\.(\w+)", whole)):
            assert re.search(rf"^  {name}\s+= ", whole, re.M), (cloud, name)
        # An image of a mirror is enough: nothing else has to be said then, and no secret is.
        image = re.search(r'variable "image" {.*?default     = null', whole, re.S)
        assert image and "var.image != null" in whole, cloud
        # All that is yours in the user-data is put in.
        for word in ["https://apt.example.org", "UkVQT1NJVE9SWS1LRVk=", "rtmp://master.example.org", SECRET]:
            assert f'"{word}"' in whole, (cloud, word)
            assert USER_DATA[0].read_text().count(word) == 1, word
        assert f'"{SECRET}", base64encode(' in whole, cloud
        # A master that a mirror would refuse is refused before there is a machine.
        [pattern] = re.findall(r'can\(regex\("(.*)", var\.master\)\)', whole)
        pattern = re.compile(pattern.replace("\\\\", "\\"))
        good = ["rtmp://h", "rtmps://a-b.example.org:443", "rtmp://192.0.2.1:1936", "rtmp://h:65535", "rtmp://[2001:db8::1]:1"]
        for master in good:
            assert pattern.search(master), (cloud, master)
        bad = ["rtmp://", "http://h", "rtmp://h/live", "rtmp://2001:db8::1", "rtmp://h:x", "rtmp://u@h", "rtmp://a b"]
        for master in [*bad, "rtmp://h:0", "rtmp://h:65536", "rtmp://h:99999"]:
            assert not pattern.search(master), (cloud, master)


def indented(path):
    """What `terraform fmt` wants, as far as these files need it: two blanks for each level, and the equals
    signs of lines that follow each other below each other."""
    depth, group = 0, []

    def end():
        assert len({at for _, at in group}) <= 1, f"{path}:{group[0][0]}: equals signs"
        group.clear()

    for number, line in enumerate(path.read_text().splitlines(), 1):
        text = re.sub(r'"[^"]*"', '""', line.split("#")[0]).rstrip()
        assert line == line.rstrip() and "\t" not in line, f"{path}:{number}: blanks"
        closed = len(re.match(r"[\])}\s]*", text.strip()).group().replace(" ", ""))
        blanks = len(line) - len(line.lstrip())
        assert not line or blanks == 2 * (depth - closed), f"{path}:{number}: {blanks} blanks"
        depth += sum(map(text.count, "[({")) - sum(map(text.count, "])}"))
        single = re.match(r"\s*\w+\s*= (?!.*[\[({]$)", text)
        if single:
            group.append((number, line.index("=")))
        else:
            end()
    end()
    assert depth == 0, path


def terraform_would_format_them_so():
    for cloud in CLOUDS:
        for path in cloud.glob("*.tf"):
            indented(path)
    for program in ["terraform", "tofu"]:
        found = subprocess.run(["sh", "-c", f"command -v {program}"], capture_output=True)
        if found.returncode == 0:
            run(program, "fmt", "-check", "-diff", "-recursive", str(IMAGE / "terraform"))


def heat_finds_what_its_template_names():
    text = (CLOUDS[0] / "mirrors.hot.yaml").read_text()
    template = yaml.safe_load(text)
    main = (CLOUDS[0] / "main.tf").read_text()
    given = main.split("parameters = {")[1].split("}")[0]
    assert set(re.findall(r"^\s*(\w+)\s*=", given, re.M)) == set(template["parameters"])
    assert set(re.findall(r"get_param: (\w+)", text)) == set(template["parameters"])
    assert set(re.findall(r"get_resource: (\w+)", text)) <= set(template["resources"])
    assert set(re.findall(r"get_attr: \[(\w+)", text)) <= set(template["resources"])
    # Whoever posts there has no login.
    assert all("alarm_url" in output["value"]["get_attr"] for output in template["outputs"].values())
    outputs = (CLOUDS[0] / "outputs.tf").read_text()
    assert set(re.findall(r'local\.urls\["(\w+)"\]', outputs)) == set(template["outputs"])


def the_alarms_ask_for_metrics_that_there_are():
    for path in [CLOUDS[0] / "prometheus-rules.yaml", IMAGE / "kubernetes/prometheus-adapter.yaml"]:
        text = path.read_text()
        assert metrics_named(text) and metrics_named(text) <= metrics(), (path, metrics_named(text))
    advice = (ROOT / "docs/scaling.md").read_text()
    assert metrics_named(advice) and metrics_named(advice) <= metrics(), metrics_named(advice) - metrics()
    made = set(re.findall(r"as: (\w+)", text)) | metrics()
    (scaler,) = [d for d in documents(IMAGE / "kubernetes/mirror.yaml") if d["kind"] == "HorizontalPodAutoscaler"]
    for metric in scaler["spec"]["metrics"]:
        name = metric["pods"]["metric"]["name"]
        assert name in made and name in text, name


def kubernetes_takes_its_manifests():
    try:
        import kubernetes_validate
    except ImportError:
        raise Skip("needs kubernetes-validate")
    version = kubernetes_validate.latest_version()
    for path in sorted((IMAGE / "kubernetes").glob("*.yaml")):
        for document in documents(path):
            kubernetes_validate.validate(document, version, strict=True)
    # It can say no.
    document["dta"] = document.pop("data")
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.ValidationError:
        return
    raise AssertionError("a ConfigMap with another field was taken")


def an_image_that_cannot_be_written_is_not_made():
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "file").write_text("")
        for output, wanted in [(folder, "--output names the file"), (f"{folder}/file/image", "cannot be made")]:
            done = subprocess.run(
                [sys.executable, str(IMAGE / "oci/build"), "--output", output], capture_output=True, text=True
            )
            assert done.returncode == 64 and wanted in done.stderr, done
        assert not Path(folder + ".part").exists()


def the_container_is_a_server_that_starts():
    (deployment,) = [d for d in documents(IMAGE / "kubernetes/mirror.yaml") if d["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    with tempfile.TemporaryDirectory() as folder:
        secret = Path(folder) / "secret"
        secret.write_text("s" * 40 + "\n")
        secret.chmod(0o440)
        named = "mirror.secret_file=/run/secrets/crtmpserver/secret"
        words = [a.replace(named, f"mirror.secret_file={secret}") for a in container["args"]]
        assert words != container["args"]
        said = run(MIRROR, "check", *words)
    for key in ["rtmp://master.example.org", "cluster.host by --set"]:
        assert key in said, said
    listen = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert listen == {"rtmp": 1935, "http": 8080}
    drain = container["lifecycle"]["preStop"]["exec"]["command"]
    [deadline] = [w.removeprefix("--deadline=") for w in drain if w.startswith("--deadline=")]
    assert pod["terminationGracePeriodSeconds"] > int(deadline.removesuffix("s")) + 5
    told = f"for up to {int(deadline.removesuffix('s'))} s of the {pod['terminationGracePeriodSeconds']} "
    assert told in (ROOT / "docs/scaling.md").read_text(), told
    # The program knows these words: without a server it gets as far as looking for one.
    tried = subprocess.run([MIRROR, *drain[1:], "--socket=/nowhere"], capture_output=True, text=True)
    assert tried.returncode not in (0, 2) and "/nowhere" in tried.stderr, tried


TESTS = [
    cloud_init_takes_the_user_data,
    an_image_tells_of_user_data_that_is_wrong,
    the_user_data_makes_a_server_that_starts,
    the_user_data_speaks_of_what_the_packages_have,
    terraform_reads_its_files,
    terraform_would_format_them_so,
    heat_finds_what_its_template_names,
    the_alarms_ask_for_metrics_that_there_are,
    kubernetes_takes_its_manifests,
    an_image_that_cannot_be_written_is_not_made,
    the_container_is_a_server_that_starts,
]


def main():
    passed = failed = skipped = 0
    for test in TESTS:
        name = f"test scale_out::{test.__name__} ..."
        try:
            test()
        except Skip as why:
            skipped += 1
            print(name, f"ignored, {why}")
        except Exception as why:  # a test that fails must not hide the others
            failed += 1
            print(f"{type(why).__name__}: {why}")
            print(name, "FAILED")
        else:
            passed += 1
            print(name, "ok")
    word = "FAILED" if failed else "ok"
    print(f"test result: {word}. {passed} passed; {failed} failed; {skipped} ignored")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
