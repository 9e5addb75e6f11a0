//! System calls that a sandboxed program does not get: those that reach into other processes, those
//! that go around landlock, and sockets that landlock does not know.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use crate::process::Network;
use crate::{Error, Kind, Result};

/// Always refused with EPERM.
const REFUSED: [libc::c_long; 31] = [
    // Reaching into other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // A second way to make system calls, past this filter.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // Wide and old attack surfaces of the kernel.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // Another view of the file system.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    libc::SYS_unshare,
    libc::SYS_setns,
    // The machine itself.
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
];

/// On this architecture every call has a second number, which would pass the filter unseen.
#[cfg(target_arch = "x86_64")]
const SECOND_NUMBER: Option<i64> = Some(0x4000_0000);
#[cfg(not(target_arch = "x86_64"))]
const SECOND_NUMBER: Option<i64> = None;

/// Which bits of a socket's type are its kind; the others are flags.
const SOCKET_KIND_MASK: u64 = 0xf;
/// An old kind that makes a packet socket out of any family.
const SOCK_PACKET: i32 = 10;
/// Every kind but the stream.
const SOCKET_KINDS_WITHOUT_STREAM: [i32; 6] = [
    libc::SOCK_DGRAM,
    libc::SOCK_RAW,
    libc::SOCK_RDM,
    libc::SOCK_SEQPACKET,
    libc::SOCK_DCCP,
    SOCK_PACKET,
];
/// Addresses, name lookups and lists of interfaces. Everything else is Unix sockets of the session
/// (key agents, containers, desktop) or a family that nothing here needs.
const FAMILIES: [i32; 3] = [libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// The filter for this policy; made in the shim, which it also protects.
pub(super) fn filter(network: Network) -> Result<BpfProgram> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for number in REFUSED {
        insert(&mut rules, number, &[]);
    }
    insert(&mut rules, libc::SYS_socket, &socket_rules(network)?);
    if network != Network::Full {
        refuse_fast_open(&mut rules)?;
    }
    refuse_signals_to(rustix::process::getpid().as_raw_nonzero().get(), &mut rules)?;
    let architecture = std::env::consts::ARCH
        .try_into()
        .map_err(|error| failed(&error))?;
    let errno = u32::try_from(libc::EPERM).unwrap_or(1);
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(errno),
        architecture,
    )
    .map_err(|error| failed(&error))?;
    filter
        .try_into()
        .map_err(|error: seccompiler::BackendError| failed(&error))
}

fn failed(error: &dyn std::fmt::Display) -> Error {
    Error::new(
        Kind::Io,
        "sandboxFailed",
        format!("the system call filter cannot be made: {error}"),
    )
}

fn insert(rules: &mut BTreeMap<i64, Vec<SeccompRule>>, number: i64, when: &[SeccompRule]) {
    rules.insert(number, when.to_vec());
    if let Some(offset) = SECOND_NUMBER {
        rules.insert(number | offset, when.to_vec());
    }
}

/// When `socket` is refused; no rule at all means always. `socketpair` is another call and stays.
fn socket_rules(network: Network) -> Result<Vec<SeccompRule>> {
    if network == Network::None {
        return Ok(Vec::new());
    }
    let not_a_family = FAMILIES
        .iter()
        .map(|family| argument(0, SeccompCmpOp::Ne, *family))
        .collect::<Result<Vec<_>>>()?;
    let mut rules = vec![rule(not_a_family)?];
    if network != Network::Full {
        for family in [libc::AF_INET, libc::AF_INET6] {
            // Landlock before ABI 10 knows TCP only, and never the other protocols with streams.
            for kind in SOCKET_KINDS_WITHOUT_STREAM {
                rules.push(rule(vec![
                    argument(0, SeccompCmpOp::Eq, family)?,
                    argument(1, SeccompCmpOp::MaskedEq(SOCKET_KIND_MASK), kind)?,
                ])?);
            }
            rules.push(rule(vec![
                argument(0, SeccompCmpOp::Eq, family)?,
                argument(2, SeccompCmpOp::Ne, 0)?,
                argument(2, SeccompCmpOp::Ne, libc::IPPROTO_TCP)?,
            ])?);
        }
    }
    Ok(rules)
}

/// Data in the first packet connects without asking landlock.
fn refuse_fast_open(rules: &mut BTreeMap<i64, Vec<SeccompRule>>) -> Result<()> {
    let flag = libc::MSG_FASTOPEN;
    let mask = u64::try_from(flag).map_err(|error| failed(&error))?;
    for (number, position) in [
        (libc::SYS_sendto, 3),
        (libc::SYS_sendmsg, 2),
        (libc::SYS_sendmmsg, 3),
    ] {
        insert(
            rules,
            number,
            &[rule(vec![argument(
                position,
                SeccompCmpOp::MaskedEq(mask),
                flag,
            )?])?],
        );
    }
    Ok(())
}

/// Landlock before ABI 6 does not know signals. Killing the shim would set the rest of the tree free, and
/// a signal to everybody would end the server.
fn refuse_signals_to(shim: i32, rules: &mut BTreeMap<i64, Vec<SeccompRule>>) -> Result<()> {
    const EVERYBODY: i32 = -1;
    let one = |target| rule(vec![argument(0, SeccompCmpOp::Eq, target)?]);
    let targets = [one(shim)?, one(-shim)?, one(EVERYBODY)?];
    for number in [
        libc::SYS_kill,
        libc::SYS_tkill,
        libc::SYS_tgkill,
        libc::SYS_rt_sigqueueinfo,
        libc::SYS_rt_tgsigqueueinfo,
        libc::SYS_pidfd_open,
    ] {
        insert(rules, number, &targets);
    }
    Ok(())
}

fn rule(conditions: Vec<SeccompCondition>) -> Result<SeccompRule> {
    SeccompRule::new(conditions).map_err(|error| failed(&error))
}

fn argument(position: u8, operator: SeccompCmpOp, value: i32) -> Result<SeccompCondition> {
    // Compared as 32 bits: negative numbers are what the kernel sees of them.
    let value = u64::from(value.cast_unsigned());
    SeccompCondition::new(position, SeccompCmpArgLen::Dword, operator, value).map_err(|error| failed(&error))
}
