//! A network namespace for a test, with an address and a default route, and a neighbour on the
//! other end of a veth pair. As root in threads of this process; otherwise in a child that maps
//! one user.

use std::{
    cell::RefCell,
    env,
    fs::File,
    net::Ipv4Addr,
    os::fd::AsRawFd as _,
    process::{Command, Stdio},
    thread,
};

use futures_util::TryStreamExt as _;
use nix::{
    sched::{CloneFlags, setns, unshare},
    unistd::{Gid, Uid, setfsgid, setfsuid},
};
use rtnetlink::{Handle, LinkUnspec, LinkVeth, RouteMessageBuilder};

/// Set in the child that already has a user namespace.
const CHILD: &str = "MIZZEN_TEST_UNSHARED";

/// Whether users other than one are mapped, so that rules by user can be shown.
pub(crate) fn users_are_mapped() -> bool {
    env::var_os(CHILD).is_none()
}

/// Runs the test in a network namespace of its own.
pub(crate) fn in_namespace(test: impl FnOnce() + Send + 'static) {
    if !Uid::effective().is_root() {
        return in_child();
    }
    let outcome = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
        prepare();
        test();
    })
    .join();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// Repeats this very test as root of a new user namespace.
fn in_child() {
    let thread = thread::current();
    let name = thread.name().expect("tests run in named threads");
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--"])
        .arg(env::current_exe().expect("this test has a file"))
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::null())
        .status()
        .expect("unshare(1) is installed");
    assert!(status.success(), "the test failed in its user namespace");
}

/// Runs as another user, for this thread only: the owner of the sockets made meanwhile.
pub(crate) fn with_user<T>(uid: u32, work: impl FnOnce() -> T) -> T {
    let user = setfsuid(Uid::from_raw(uid));
    let group = setfsgid(Gid::from_raw(uid));
    let out = work();
    setfsuid(user);
    setfsgid(group);
    out
}

/// Runs on the other end of the veth pair, whose address is 10.99.0.1. A runtime's threads that are
/// started there stay there.
pub(crate) fn from_neighbour<T>(work: impl FnOnce() -> T) -> T {
    let here = current();
    NEIGHBOUR.with_borrow(|neighbour| {
        setns(neighbour.as_ref().expect("prepared"), CloneFlags::CLONE_NEWNET).expect("there");
        let out = work();
        setns(here, CloneFlags::CLONE_NEWNET).expect("back");
        out
    })
}

thread_local! {
    static NEIGHBOUR: RefCell<Option<File>> = const { RefCell::new(None) };
}

fn current() -> File {
    File::open("/proc/thread-self/ns/net").expect("a namespace has a file")
}

/// Makes the pair: 10.99.0.2/24 and the default route here, 10.99.0.1/24 there.
fn prepare() {
    let here = current();
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
    let there = current();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let handle = connect();
        let pair = LinkVeth::new("there", "here").build();
        handle.link().add(pair).execute().await.expect("a veth pair");
        up(&handle, "lo", None).await;
        let peer = index(&handle, "here").await;
        let moved = LinkUnspec::new_with_index(peer).setns_by_fd(here.as_raw_fd()).build();
        handle.link().set(moved).execute().await.expect("moved");
        up(&handle, "there", Some([10, 99, 0, 1])).await;
        setns(&here, CloneFlags::CLONE_NEWNET).expect("back");
        let handle = connect();
        up(&handle, "lo", None).await;
        up(&handle, "here", Some([10, 99, 0, 2])).await;
        let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway([10, 99, 0, 1].into()).build();
        handle.route().add(route).execute().await.expect("a default route");
    });
    NEIGHBOUR.set(Some(there));
}

fn connect() -> Handle {
    let (connection, handle, _) = rtnetlink::new_connection().expect("a netlink socket");
    tokio::spawn(connection);
    handle
}

async fn index(handle: &Handle, name: &str) -> u32 {
    let mut links = handle.link().get().match_name(name.to_owned()).execute();
    let link = links.try_next().await.expect("the link is there").expect("one link");
    link.header.index
}

async fn up(handle: &Handle, name: &str, address: Option<[u8; 4]>) {
    let index = index(handle, name).await;
    if let Some(address) = address {
        handle.address().add(index, address.into(), 24).execute().await.expect("an address");
        // fd00::1 and fd00::2, for those who want IPv6; absent where the kernel has none.
        let v6 = std::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, u16::from(address[3]));
        let _ = handle.address().add(index, v6.into(), 64).execute().await;
    }
    let link = LinkUnspec::new_with_index(index).up().build();
    handle.link().set(link).execute().await.expect("up");
}
