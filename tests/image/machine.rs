//! A virtual machine, without hardware acceleration, on a disk of its own above an image.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::lab::{Lab, at, host, mac};
use crate::recipe::Image;
use crate::world::{PATIENCE, Process, get_at, local, pause, tail, wait_within};

/// How long a machine may take to boot, or to say something: it is slow, and others want the processors too.
pub(crate) const BOOT: Duration = Duration::from_secs(600);
/// The root file system is the third partition.
const ROOT: &str = "/dev/vda3";

/// With what QEMU's monitor asks for a command.
const PROMPT: &[u8] = b"(qemu) ";

/// How a machine starts.
pub(crate) enum Start<'a> {
    /// The image's kernel at once, with these words on its command line: half a minute less.
    Kernel(&'a str),
    /// The disk's own boot loader, by the BIOS.
    Bios,
    /// The disk's own boot loader, by UEFI, and an NVMe disk.
    Uefi,
}

impl Start<'_> {
    /// What the disk is for the machine: virtio, as with most providers, or NVMe, as with others. QEMU's NVMe
    /// lost a machine its disk once, and hangs when a kernel resets it while it is at work: most do without.
    fn disk(&self) -> &'static str {
        match self {
            Self::Kernel(_) | Self::Bios => "virtio-blk-pci,drive=disk,serial=1",
            Self::Uefi => "nvme,drive=disk,serial=1",
        }
    }
}

/// A machine, until it is dropped.
pub(crate) struct Machine<'a> {
    lab: &'a Lab<'a>,
    pub(crate) number: u8,
    name: String,
    pub(crate) disk: PathBuf,
    process: Option<Process>,
    arguments: Vec<String>,
    begun: Instant,
    boots: u32,
}

impl<'a> Machine<'a> {
    /// Starts a machine on a disk above the image, or on the one that the test has put in its place,
    /// `NAME.qcow2`. The image is not written to. `further` is for QEMU.
    pub(crate) fn start(
        lab: &'a Lab<'a>,
        name: &str,
        image: &Image,
        start: &Start<'_>,
        further: &[&str],
    ) -> Self {
        let disk = lab.world.path(&format!("{name}.qcow2"));
        if !disk.exists() {
            // Larger than the image: the root file system has to grow.
            host(&format!(
                "qemu-img create -q -f qcow2 -F qcow2 -b {} {} 3G",
                image.qcow2.display(),
                disk.display()
            ));
        }
        let number = lab.cable();
        let mut arguments: Vec<String> = [
            "-M",
            "q35",
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            "max",
            "-smp",
            "1",
            "-m",
            "320",
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-device",
            start.disk(),
        ]
        .map(str::to_owned)
        .to_vec();
        let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        // What the machine wants on its disk need not be on this host's: nobody waits for that one.
        add(
            "-drive",
            format!(
                "file={},if=none,id=disk,format=qcow2,cache=unsafe",
                disk.display()
            ),
        );
        add(
            "-netdev",
            format!("tap,id=net,ifname=tap{number},script=no,downscript=no"),
        );
        add(
            "-device",
            format!("virtio-net-pci,netdev=net,mac={},romfile=", mac(number)),
        );
        add(
            "-monitor",
            format!("tcp:127.0.0.1:{},server=on,wait=off", monitor(number)),
        );
        match start {
            Start::Kernel(words) => {
                add("-kernel", image.kernel.display().to_string());
                add("-initrd", image.initrd.display().to_string());
                add(
                    "-append",
                    format!(
                        "root={ROOT} rw rootwait console=ttyS0 mitigations=off no_timer_check {words}"
                    ),
                );
            }
            Start::Bios => {}
            Start::Uefi => {
                let variables = lab.world.path(&format!("{name}-variables.fd"));
                fs::copy("/usr/share/OVMF/OVMF_VARS_4M.fd", &variables).unwrap();
                let flash = "if=pflash,format=raw";
                add(
                    "-drive",
                    format!("{flash},readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd"),
                );
                add("-drive", format!("{flash},file={}", variables.display()));
            }
        }
        arguments.extend(further.iter().map(|&a| a.to_owned()));
        let mut machine = Self {
            lab,
            number,
            name: name.to_owned(),
            disk,
            process: None,
            arguments,
            begun: Instant::now(),
            boots: 0,
        };
        machine.boot();
        machine
    }

    /// Starts it, again when it was there before.
    pub(crate) fn boot(&mut self) {
        self.boots += 1;
        self.begun = Instant::now();
        let mut command = Command::new("qemu-system-x86_64");
        command.args(&self.arguments).arg("-serial");
        command.arg(format!("file:{}", self.console_file().display()));
        self.process = Some(self.lab.world.start(&self.name, &mut command));
    }

    fn console_file(&self) -> PathBuf {
        let name = format!("{}-{}.console", self.name, self.boots);
        self.lab.world.path(&name)
    }

    /// What stands on its console.
    pub(crate) fn console(&self) -> String {
        let bytes = fs::read(self.console_file()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A port of it.
    pub(crate) fn at(&self, port: u16) -> SocketAddr {
        at(self.number, port)
    }

    fn wait<T>(&self, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
        let begun = Instant::now();
        wait_within(BOOT + Duration::from_secs(10), what, || {
            let found = probe();
            if found.is_none() {
                // Not to keep a slow machine busy with questions.
                pause(500);
            }
            let late = found.is_none() && begun.elapsed() > BOOT;
            let ended = self.process.as_ref().is_none_or(Process::ended);
            assert!(
                !late && !ended,
                "{}: {what}: {}; its console:\n{}",
                self.name,
                if late { "not in time" } else { "it ended" },
                tail(&self.console())
            );
            found
        })
    }

    /// Waits until its console says something.
    pub(crate) fn wait_console(&self, wanted: &[&str]) {
        self.wait(&format!("the console says {wanted:?}"), || {
            let said = self.console();
            wanted.iter().all(|w| said.contains(w)).then_some(())
        });
    }

    /// Waits until `/healthz` has this status and says this.
    pub(crate) fn wait_health(&self, status: u16, wanted: &str) {
        let what = format!("/healthz is {status} and has {wanted:?}");
        self.wait(&what, || {
            let (is, body) = get_at(self.at(8080), "/healthz")?;
            (is == status && body.contains(wanted)).then_some(())
        });
        self.note(&what);
    }

    /// Waits until `/healthz` has nothing to tell of this.
    pub(crate) fn wait_well(&self, of: &str) {
        self.wait(&format!("/healthz says nothing of {of:?}"), || {
            let (is, body) = get_at(self.at(8080), "/healthz")?;
            (is == 200 && !body.contains(of)).then_some(())
        });
        self.note(&format!("/healthz says nothing of {of:?}"));
    }

    /// Waits until a stream is live on it.
    pub(crate) fn wait_live(&self, stream: &str) {
        self.wait(&format!("{stream} is live"), || {
            let (status, body) = get_at(self.at(8080), "/")?;
            (status == 200 && body.contains(stream)).then_some(())
        });
        self.note(&format!("{stream} is live"));
    }

    /// Waits until it accepts connections there.
    pub(crate) fn wait_port(&self, port: u16) {
        self.wait(&format!("port {port} is open"), || {
            TcpStream::connect_timeout(&self.at(port), Duration::from_secs(2)).ok()
        });
        self.note(&format!("port {port} is open"));
    }

    /// Whether a connection to a port is neither made nor refused.
    pub(crate) fn is_silent(&self, port: u16) -> bool {
        TcpStream::connect_timeout(&self.at(port), Duration::from_secs(4))
            .is_err_and(|e| e.kind() == ErrorKind::TimedOut)
    }

    /// Writes down how long it took from the start of QEMU.
    fn note(&self, what: &str) {
        let line = format!(
            "{}: {what} after {:.1} s\n",
            self.name,
            self.begun.elapsed().as_secs_f64()
        );
        let file = fs::File::options()
            .create(true)
            .append(true)
            .open(self.lab.world.path("times"));
        drop(file.and_then(|mut file| file.write_all(line.as_bytes())));
    }

    pub(crate) fn rtmp_url(&self, stream: &str) -> String {
        format!("rtmp://{}/{stream}", self.at(1935).ip())
    }

    pub(crate) fn flv_url(&self, stream: &str) -> String {
        format!("http://{}/{stream}.flv", self.at(8080))
    }

    /// Presses the power button, and waits until the machine is off.
    pub(crate) fn power_off(&mut self) {
        self.end("system_powerdown");
    }

    /// Takes the power away. What the disk has said that it has, it has.
    pub(crate) fn unplug(&mut self) {
        self.end("quit");
    }

    /// Makes the disk answer nothing any more, or all that it was asked.
    pub(crate) fn hang_disk(&self, hangs: bool) {
        // A byte a second; 0 is no limit.
        self.tell(&format!(
            "block_set_io_throttle disk {} 0 0 0 0 0",
            u8::from(hangs)
        ));
        let said = self.tell("info block");
        assert_eq!(said.contains("I/O throttling"), hangs, "{said}");
    }

    /// Tells QEMU's monitor something, and waits for its answer: without, what the next one says is lost.
    fn tell(&self, command: &str) -> String {
        let mut monitor = TcpStream::connect(local(monitor(self.number))).unwrap();
        monitor.set_read_timeout(Some(PATIENCE)).unwrap();
        writeln!(monitor, "{command}").unwrap();
        let (mut said, mut part) = (Vec::new(), [0; 4096]);
        // It asks what it may do before and after; one that was told to end says nothing more.
        while said.windows(PROMPT.len()).filter(|w| *w == PROMPT).count() < 2 {
            match monitor.read(&mut part) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => panic!("{command}: no answer"),
                Ok(0) | Err(_) => break,
                Ok(n) => said.extend_from_slice(&part[..n]),
            }
        }
        String::from_utf8_lossy(&said).into_owned()
    }

    /// Tells QEMU's monitor to do something that ends it.
    fn end(&mut self, command: &str) {
        self.tell(command);
        let console = self.console_file();
        let status = self.process.take().unwrap().wait(BOOT);
        assert!(status.success(), "{status}; see {}", console.display());
    }

    /// The disk of a machine that is off, for looking into it.
    pub(crate) fn files(&self) -> Files {
        assert!(self.process.is_none(), "it runs");
        Files::of(
            &self.disk,
            self.lab.world.path(&format!("{}.raw", self.name)),
        )
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        self.process = None;
        let _ = fs::remove_file(&self.disk);
        // What did not come to its test's end is seen without looking for the files.
        if std::thread::panicking() {
            let said = self.console();
            let _ = writeln!(std::io::stderr(), "{}: {}", self.name, tail(&said));
        }
    }
}

/// QEMU's own port, in the name space of the test.
fn monitor(number: u8) -> u16 {
    7000 + u16::from(number)
}

/// The root file system of a disk, read without mounting it.
pub(crate) struct Files {
    raw: PathBuf,
    offset: u64,
}

impl Files {
    /// Of a disk that nobody uses; `raw` is where it is unpacked.
    pub(crate) fn of(disk: &Path, raw: PathBuf) -> Self {
        host(&format!(
            "qemu-img convert -O raw {} {}",
            disk.display(),
            raw.display()
        ));
        let table = host(&format!("sfdisk --json {}", raw.display()));
        let table: serde_json::Value = serde_json::from_str(&table).unwrap();
        let sectors = table["partitiontable"]["partitions"][2]["start"]
            .as_u64()
            .unwrap();
        Self {
            raw,
            offset: sectors * 512,
        }
    }

    fn ask(&self, request: &str) -> String {
        host(&format!(
            "debugfs -R '{request}' '{}?offset={}' 2>&1",
            self.raw.display(),
            self.offset
        ))
    }

    /// A file's text; of one that is not there, nothing.
    pub(crate) fn text(&self, path: &str) -> String {
        let said = self.ask(&format!("cat {path}"));
        let lines = said.lines().filter(|l| !l.starts_with("debugfs "));
        let lines: Vec<&str> = lines.collect();
        if lines
            .iter()
            .any(|l| l.contains("File not found by ext2_lookup"))
        {
            return String::new();
        }
        lines.join("\n")
    }

    /// What `debugfs` knows of a file: its owner, mode, size.
    pub(crate) fn stat(&self, path: &str) -> String {
        self.ask(&format!("stat {path}"))
    }

    /// Whether there is such a file.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.stat(path).contains("Inode:")
    }

    /// What somebody else's tools say of the boot partition, which firmware has to read.
    pub(crate) fn boot_partition(&self) -> String {
        self.of_boot_partition("fsck.vfat -n $p; mdir -/ -b -i $p ::")
    }

    /// What its boot loaders, by UEFI and by BIOS, are told.
    pub(crate) fn boot_loaders(&self) -> [String; 2] {
        [
            "for e in $(mdir -b -i $p ::loader/entries); do mtype -i $p $e; done",
            "mtype -i $p ::grub/grub.cfg",
        ]
        .map(|script| self.of_boot_partition(script))
    }

    fn of_boot_partition(&self, script: &str) -> String {
        host(&format!(
            "p=$(mktemp); dd if={} of=$p bs=1M skip=1 count=128 status=none
             {script}; rm $p",
            self.raw.display()
        ))
    }

    /// The size of the file system, MiB.
    pub(crate) fn size(&self) -> u64 {
        let said = self.ask("stats -h");
        let number = |key: &str| -> u64 {
            let line = said.lines().find(|l| l.starts_with(key)).unwrap();
            line.split_whitespace().last().unwrap().parse().unwrap()
        };
        number("Block count:") * number("Block size:") / (1024 * 1024)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.raw);
    }
}
