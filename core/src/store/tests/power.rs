//! Power cuts: a file system of our own on a loop device, whose device goes away in the middle of the
//! work (`FS_IOC_SHUTDOWN` without flushing), where this machine allows it.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use super::children;
use super::support::wait_until;
use crate::store::Store;
use crate::store::safety_log::{self, Promise};

/// Cuts the power: what is not on the disk by now never will be.
const CUT: &str = "import fcntl, os, struct, sys\n\
                   fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))\n";
/// Cuts.
const ROUNDS: usize = 4;

/// An ext4 in a file, mounted; what children report is outside of it.
struct Machine {
    folder: TempDir,
}

impl Machine {
    fn boot() -> Option<Self> {
        let machine = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir(machine.disk()).unwrap();
        let image = std::fs::File::create(machine.image()).unwrap();
        image.set_len(160 << 20).unwrap();
        let made = run("mkfs.ext4", &["-q", "-F", text(&machine.image())]) && machine.mount();
        if made && run("python3", &["-c", CUT, text(&machine.disk())]) {
            machine.unmount();
            assert!(machine.mount());
            std::fs::create_dir(machine.disk().join("state")).unwrap();
            std::os::unix::fs::symlink(machine.disk().join("state"), machine.state()).unwrap();
            return Some(machine);
        }
        #[expect(
            clippy::print_stderr,
            reason = "a skipped scenario must not look like one that passed"
        )]
        {
            eprintln!("SKIPPED: this machine does not let the test mount an ext4 and shut it down");
        }
        None
    }

    fn disk(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    /// Leads to the disk; its parent does not lie there.
    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn mount(&self) -> bool {
        run("mount", &["-o", "loop", text(&self.image()), text(&self.disk())])
    }

    fn unmount(&self) {
        if !run("umount", &[text(&self.disk())]) {
            run("umount", &["-l", text(&self.disk())]);
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.unmount();
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn run(program: &str, arguments: &[&str]) -> bool {
    #[expect(clippy::disallowed_methods, reason = "mounting is not for the product to do")]
    let mut command = Command::new(program);
    command
        .args(arguments)
        .output()
        .is_ok_and(|output| output.status.success())
}

#[tokio::test]
async fn nothing_that_was_acknowledged_is_lost_by_a_power_cut() {
    let Some(machine) = Machine::boot() else { return };
    for round in 0..ROUNDS {
        let name = format!("round-{round}");
        let mut child = children::start("payer", &name, &machine.state(), "");
        wait_until("some acknowledgements", || {
            children::reports(&machine.state(), &name).len() >= 5 + 6 * round
        });

        // Frozen first, so that no acknowledgement overtakes the cut.
        child.signal(Signal::STOP);
        assert!(run("python3", &["-c", CUT, text(&machine.disk())]));
        child.kill();
        let acknowledged = children::reports(&machine.state(), &name).len();
        machine.unmount();
        assert!(machine.mount());

        let store = Store::open(&machine.state()).await.unwrap();
        assert_eq!(store.restoration(), None, "the database is whole");
        let run = name.as_str().into();
        let events = store.events(&run, 0, 10_000).await.unwrap().len();
        assert!(events >= acknowledged, "{events} of {acknowledged} commits");
        let settled = store.ledger().run_totals(&run).await.unwrap().cost;
        let least = crate::money::Money::from_dollars(i64::try_from(acknowledged).unwrap());
        assert!(settled >= least, "{settled} of {least}");
        let logged = safety_log::read(&machine.state()).unwrap().promises;
        let of_this_round = |promise: &&Promise| matches!(promise, Promise::Settled { intent, .. } if intent.as_str().starts_with(&name));
        let promised = logged.iter().filter(of_this_round).count();
        assert!(
            promised >= acknowledged,
            "{promised} of {acknowledged} are in the log"
        );
        store.close().await;
    }
}
