//! Traffic capture: nftables rules in the current network namespace that send a workload's
//! connections through its proxy, with the semantics of Istio's iptables rules in REDIRECT mode.
//!
//! `rules` decides (pure), `print` shows, `wire` and `netlink` program the kernel. Each family's
//! table is replaced in one transaction, so applying twice leaves the same rules as once.

mod netlink;
mod options;
mod print;
mod rules;
mod wire;

use thiserror::Error;

pub use self::{
    options::{CaptureOptions, Exempt, Ipv6Capture, OptionError, Ports, Ranges},
    rules::Family,
};

/// Name of the tables that capture makes, in families `ip` and `ip6`.
pub const TABLE: &str = "mizzen";

/// Why the rules could not be programmed.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// The socket to the kernel's packet filter failed.
    #[error("netlink socket to nf_tables: {0}")]
    Socket(#[from] std::io::Error),
    /// The kernel refused a message of the transaction; nothing was changed.
    #[error("table {family} {TABLE}: {what}: {reason}{hint}")]
    Refused {
        /// Address family of the table.
        family: Family,
        /// The message that was refused, in words.
        what: String,
        /// The kernel's reason.
        reason: std::io::Error,
        /// What to do about it, or nothing.
        hint: &'static str,
    },
    /// The kernel did not answer.
    #[error("nf_tables did not confirm the rules within {0} s")]
    Silent(u64),
}

/// What `apply` did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Families whose table is now in place.
    pub families: Vec<Family>,
    /// What was left out because the kernel lacks it, in words for a log.
    pub notes: Vec<String>,
}

/// Replaces the capture tables of the current network namespace by those that `options` describe.
///
/// # Errors
/// When the kernel refuses the rules (no `CAP_NET_ADMIN`, no nf_tables); nothing is changed then.
pub fn apply(options: &CaptureOptions) -> Result<Applied, CaptureError> {
    let mut applied = Applied { families: Vec::new(), notes: Vec::new() };
    for family in families(options) {
        let table = rules::table(options, family);
        match netlink::replace(&table) {
            Ok(()) => {}
            Err(error) if table.has_zones() && error.is_unsupported() => {
                netlink::replace(&table.without_zones())?;
                applied.notes.push(format!(
                    "{family}: this kernel has no conntrack zones ({error}); a forwarded DNS query \
                     that reuses a workload's source port may be lost"
                ));
            }
            Err(error) => return Err(error),
        }
        applied.families.push(family);
    }
    for family in [Family::Ip, Family::Ip6] {
        if !applied.families.contains(&family) {
            remove_if_supported(family)?;
        }
    }
    Ok(applied)
}

/// Removes the capture tables of the current network namespace; it is no error if there are none.
///
/// # Errors
/// When the kernel refuses the removal.
pub fn clean() -> Result<(), CaptureError> {
    [Family::Ip, Family::Ip6].into_iter().try_for_each(remove_if_supported)
}

/// The rules as text in the manner of `nft list ruleset`, for people.
#[must_use]
pub fn print(options: &CaptureOptions) -> String {
    families(options)
        .into_iter()
        .map(|family| print::table(&rules::table(options, family)))
        .collect::<Vec<_>>()
        .join("\n")
}

fn remove_if_supported(family: Family) -> Result<(), CaptureError> {
    match netlink::remove(family) {
        Err(error) if family == Family::Ip6 && error.is_unsupported() => Ok(()),
        result => result,
    }
}

fn families(options: &CaptureOptions) -> Vec<Family> {
    let ipv6 = match options.ipv6 {
        Ipv6Capture::On => true,
        Ipv6Capture::Off => false,
        Ipv6Capture::Auto => has_global_ipv6(),
    };
    if ipv6 { vec![Family::Ip, Family::Ip6] } else { vec![Family::Ip] }
}

/// Whether an interface other than loopback has an IPv6 address of more than link scope
/// (`/proc/net/if_inet6`, fourth field: `20` is link, `10` host).
fn has_global_ipv6() -> bool {
    std::fs::read_to_string("/proc/net/if_inet6").is_ok_and(|text| {
        text.lines().any(|line| {
            let mut fields = line.split_whitespace().skip(3);
            let scope = fields.next();
            fields.next();
            scope.is_some_and(|scope| scope != "20" && scope != "10") && fields.next() != Some("lo")
        })
    })
}

impl CaptureError {
    /// Whether the kernel lacks what was asked for (rather than forbids it).
    fn is_unsupported(&self) -> bool {
        use nix::errno::Errno;
        let Self::Refused { reason, .. } = self else { return false };
        let Some(code) = reason.raw_os_error() else { return false };
        matches!(
            Errno::from_raw(code),
            Errno::EOPNOTSUPP
                | Errno::ENOENT
                | Errno::EAFNOSUPPORT
                | Errno::EPROTONOSUPPORT
                | Errno::EINVAL
        )
    }
}
