//! Where the state may not live: a network file system breaks the locks that everything rests on.

use std::path::Path;

use crate::Result;

/// Magic numbers of file systems whose locks or shared memory do not reach across machines
/// (`statfs(2)`): NFS, SMB, CIFS, SMB 2, AFS, Coda, NCP, Ceph, OCFS2, GFS2, Lustre. Not 9p, which
/// is how some containers see their local disk.
#[cfg(target_os = "linux")]
const NETWORK_TYPES: &[u32] = &[
    0x6969,
    0x517B,
    0xFF53_4D42,
    0xFE53_4D42,
    0x5346_414F,
    0x7375_7245,
    0x564C,
    0x00C3_6400,
    0x7461_636F,
    0x0116_1970,
    0x0BD0_0BD0,
];

/// Refuses a state directory on a network file system.
#[cfg(target_os = "linux")]
pub(super) fn refuse_network(state: &Path) -> Result<()> {
    match rustix::fs::statfs(state) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the magic numbers are 32 bits wide"
        )]
        Ok(found) if is_network(found.f_type as u32) => {
            let message = format!(
                "the state directory {} is on a network file system, where locks cannot be relied on",
                state.display()
            );
            Err(crate::Error::new(crate::Kind::Io, "stateOnNetwork", message)
                .hint("name a directory on a local disk with CLODE_STATE_DIR"))
        }
        _ => Ok(()),
    }
}

/// Elsewhere there is no portable way to ask.
#[cfg(not(target_os = "linux"))]
pub(super) fn refuse_network(_state: &Path) -> Result<()> {
    Ok(())
}

#[cfg(target_os = "linux")]
fn is_network(magic: u32) -> bool {
    NETWORK_TYPES.contains(&magic)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_told_from_local_ones() {
        let (nfs, smb2, ext4, tmpfs, btrfs) = (0x6969, 0xFE53_4D42, 0xEF53, 0x0102_1994, 0x9123_683E);
        assert!(is_network(nfs) && is_network(smb2));
        assert!(!is_network(ext4) && !is_network(tmpfs) && !is_network(btrfs));
    }
}
