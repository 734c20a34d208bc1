//! Entering the namespaces: `mizzen internal boot`, and PID 1 inside, `mizzen internal init`.
//!
//! Both are single-threaded and start no tokio. Descriptors 0 and 1 are the control pipe (its end
//! says that the outer process is gone) and the event pipe; both pass through to the runtime.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::event::{Event, Stage};

/// What the outer process sends when it has written the user mappings.
pub(crate) const GO: &[u8] = b"go\n";

/// Enters new namespaces, waits for the outer process to map users into them, and runs `init` as
/// their first process. Gives the code to exit with.
#[must_use]
pub fn boot(options: &str) -> u8 {
    // A terminal's Ctrl-C shall reach the outer process only.
    let _ = nix::unistd::setsid();
    let namespaces = CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    if let Err(errno) = unshare(namespaces) {
        return fail(Stage::Namespaces, "this system refuses them", errno);
    }
    Event::Unshared.send();
    if let Err(errno) = wait_for_go() {
        return fail(Stage::Namespaces, "the outer process went away", errno);
    }
    match spawn_self("init", options).and_then(|mut init| init.wait()) {
        Ok(status) => code(status),
        Err(error) => fail_io(Stage::Namespaces, "cannot start the first process", &error),
    }
}

/// The first process of the PID namespace: makes mounts private, runs the runtime, reaps what is
/// orphaned, and takes everything with it when it ends.
#[must_use]
pub fn init(options: &str) -> u8 {
    let _ = set_pdeathsig(Signal::SIGKILL);
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    if let Err(errno) = mount(None::<&str>, "/", None::<&str>, private, None::<&str>) {
        return fail(Stage::Mounts, "they cannot be used for mounts", errno);
    }
    // A fresh /proc shows the mesh's processes under their own ids. Where it is refused (masked
    // paths in a container) the old one does.
    let hardened = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    if let Err(errno) = mount(Some("proc"), "/proc", Some("proc"), hardened, None::<&str>) {
        tracing::warn!("cannot mount a fresh /proc: {errno}");
    }
    let _ = nix::unistd::sethostname("mizzen");
    match spawn_self("runtime", options) {
        Ok(runtime) => reap_until(&runtime),
        Err(error) => fail_io(Stage::Runtime, "cannot start the runtime", &error),
    }
}

/// This program again, with another subcommand.
fn spawn_self(role: &str, options: &str) -> io::Result<Child> {
    Command::new(crate::supervise::SELF)
        .arg0("mizzen")
        .args(["internal", role, "--options", options])
        .spawn()
}

/// Reads exactly the outer process's word, unbuffered: what follows it is the runtime's to read.
fn wait_for_go() -> nix::Result<()> {
    for expected in GO {
        let mut byte = [0];
        match nix::unistd::read(io::stdin().as_fd(), &mut byte)? {
            1 if byte[0] == *expected => {}
            _ => return Err(Errno::EPIPE),
        }
    }
    Ok(())
}

fn reap_until(runtime: &Child) -> u8 {
    let runtime = Pid::from_raw(runtime.id().cast_signed());
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) if pid == runtime => {
                return u8::try_from(code).unwrap_or(1);
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == runtime => {
                let message = format!("the runtime was ended by {signal}");
                Event::Failed { stage: Stage::Runtime, message, errno: None }.send();
                return 1;
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return 1,
        }
    }
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(1)
}

fn fail(stage: Stage, message: &str, errno: Errno) -> u8 {
    let message = format!("{message} ({errno})");
    Event::Failed { stage, message, errno: Some(errno as i32) }.send();
    1
}

fn fail_io(stage: Stage, message: &str, error: &io::Error) -> u8 {
    let message = format!("{message} ({error})");
    Event::Failed { stage, message, errno: error.raw_os_error() }.send();
    1
}
