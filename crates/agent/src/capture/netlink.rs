//! The conversation with nf_tables: sends a batch, reads the verdict.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::{
    errno::Errno,
    sys::{
        socket::{
            AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, connect,
            recv, send, setsockopt, socket, sockopt,
        },
        time::TimeVal,
    },
};

use super::{
    CaptureError,
    rules::{Family, Table},
    wire::Batch,
};

const ANSWER_SECONDS: u64 = 5;
/// `NLMSG_ERROR`: also the form of an acknowledgement, with error 0.
const MESSAGE_ERROR: u16 = 2;

/// Replaces the family's table by this one in one transaction.
pub(crate) fn replace(table: &Table) -> Result<(), CaptureError> {
    let mut batch = Batch::new();
    batch.delete_table(table.family);
    batch.add_table(table);
    transact(table.family, batch)
}

/// Removes the family's table, if any.
pub(crate) fn remove(family: Family) -> Result<(), CaptureError> {
    let mut batch = Batch::new();
    batch.delete_table(family);
    transact(family, batch)
}

fn transact(family: Family, batch: Batch) -> Result<(), CaptureError> {
    let (bytes, acknowledged, labels) = batch.finish();
    let socket = open()?;
    let sent = send(socket.as_raw_fd(), &bytes, MsgFlags::empty()).map_err(io::Error::from)?;
    if sent != bytes.len() {
        return Err(io::Error::new(io::ErrorKind::WriteZero, "the batch was cut short").into());
    }
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(length) => length,
            Err(Errno::EINTR) => continue,
            Err(Errno::EAGAIN) => return Err(CaptureError::Silent(ANSWER_SECONDS)),
            Err(error) => return Err(io::Error::from(error).into()),
        };
        for (sequence, code) in verdicts(buffer.get(..length).unwrap_or_default()) {
            if code != 0 {
                return Err(refused(family, &labels, sequence, code));
            }
            if sequence == acknowledged {
                return Ok(());
            }
        }
    }
}

fn open() -> Result<OwnedFd, CaptureError> {
    let fd = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkNetFilter,
    )
    .map_err(io::Error::from)?;
    let seconds = i64::try_from(ANSWER_SECONDS).unwrap_or(i64::MAX);
    setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::new(seconds, 0)).map_err(io::Error::from)?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0)).map_err(io::Error::from)?;
    connect(fd.as_raw_fd(), &NetlinkAddr::new(0, 0)).map_err(io::Error::from)?;
    Ok(fd)
}

/// The sequence number and error code of each answer in what was received.
fn verdicts(mut bytes: &[u8]) -> Vec<(u32, i32)> {
    let mut out = Vec::new();
    let word = |bytes: &[u8], at: usize| -> Option<[u8; 4]> {
        bytes.get(at..at + 4).and_then(|word| word.try_into().ok())
    };
    while let (Some(length), Some(kind), Some(sequence)) =
        (word(bytes, 0), word(bytes, 4), word(bytes, 8))
    {
        let length = usize::try_from(u32::from_ne_bytes(length)).unwrap_or(usize::MAX);
        if u16::from_ne_bytes([kind[0], kind[1]]) == MESSAGE_ERROR
            && let Some(code) = word(bytes, 16)
        {
            out.push((u32::from_ne_bytes(sequence), i32::from_ne_bytes(code)));
        }
        let next = length.max(16).next_multiple_of(4);
        bytes = bytes.get(next..).unwrap_or_default();
    }
    out
}

fn refused(family: Family, labels: &[(u32, String)], sequence: u32, code: i32) -> CaptureError {
    let what = labels
        .iter()
        .find(|(number, _)| *number == sequence)
        .map_or_else(|| "message".to_owned(), |(_, label)| label.clone());
    let errno = Errno::from_raw(code.saturating_neg());
    let hint = match errno {
        Errno::EPERM | Errno::EACCES => {
            "; capture needs CAP_NET_ADMIN in the network namespace it runs in"
        }
        Errno::EOPNOTSUPP | Errno::EPROTONOSUPPORT | Errno::ENOENT => {
            "; the kernel needs nf_tables with nat, redirect and conntrack"
        }
        _ => "",
    };
    CaptureError::Refused { family, what, reason: errno.into(), hint }
}
