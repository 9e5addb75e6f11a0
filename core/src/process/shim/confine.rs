//! What the program is kept from: prepared in the shim, put into force in the program's process only.

#[cfg(target_os = "linux")]
pub(super) use linux::Confinement;
#[cfg(not(target_os = "linux"))]
pub(super) use none::Confinement;

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::BTreeSet;
    use std::ffi::OsString;
    use std::path::{Path, PathBuf};

    use landlock::{
        ABI, Access, AccessFs, AccessNet, BitFlags, NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr,
        RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
    };
    use seccompiler::BpfProgram;

    use super::super::{capabilities, seccomp, toolchain};
    use crate::process::Network;
    use crate::process::wire::{RawText, Sandbox, Specification};
    use crate::{Error, Kind, Result};

    /// The newest interface that we ask for; the kernel's may be older, then less is enforced.
    const ABI_WANTED: ABI = ABI::V10;
    /// Readable for every program.
    const SYSTEM_ROOTS: [&str; 13] = [
        "/usr",
        "/bin",
        "/sbin",
        "/lib",
        "/lib32",
        "/lib64",
        "/libx32",
        "/etc",
        "/proc",
        "/sys",
        "/dev",
        "/opt",
        "/nix/store",
    ];
    /// Devices that are harmless to write.
    const WRITABLE_DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/tty"];
    /// Shared memory of programs with several processes.
    const SHARED_MEMORY: &str = "/dev/shm";
    /// Where names are resolved; often a link to outside of `/etc`.
    const RESOLVER: &str = "/etc/resolv.conf";

    /// Ready to be put into force.
    pub(in super::super) struct Confinement {
        landlock_abi: Option<u8>,
        parts: Option<(RulesetCreated, BpfProgram)>,
    }

    impl Confinement {
        /// For a specification without a sandbox this confines nothing.
        pub(in super::super) fn prepare(specification: &Specification) -> Result<Self> {
            let Some(sandbox) = &specification.sandbox else {
                return Ok(Self {
                    landlock_abi: None,
                    parts: None,
                });
            };
            let path = specification.env.iter().find_map(|(name, value)| {
                (OsString::from(name.clone()) == "PATH").then(|| OsString::from(value.clone()))
            });
            let program: PathBuf = OsString::from(specification.program.clone()).into();
            let tools = toolchain::roots(&program, &path.unwrap_or_default(), &paths(&sandbox.protected));
            let ruleset = ruleset(sandbox, tools)?;
            let filter = seccomp::filter(sandbox.network)?;
            Ok(Self {
                landlock_abi: kernel_abi(),
                parts: Some((ruleset, filter)),
            })
        }

        pub(in super::super) fn landlock_abi(&self) -> Option<u8> {
            self.landlock_abi
        }

        /// Puts it into force for the calling process, for ever. Runs between fork and exec.
        pub(in super::super) fn enforce(self) -> std::io::Result<()> {
            let Some((ruleset, filter)) = self.parts else {
                return Ok(());
            };
            let refused = || std::io::Error::from(rustix::io::Errno::PERM);
            rustix::thread::set_no_new_privs(true)?;
            capabilities::drop_most()?;
            let status = ruleset.restrict_self().map_err(|_| refused())?;
            if self.landlock_abi.is_some() && status.ruleset == RulesetStatus::NotEnforced {
                return Err(refused());
            }
            seccompiler::apply_filter(&filter).map_err(|_| refused())
        }
    }

    /// The kernel's version of landlock, if it is there and switched on.
    #[expect(unsafe_code, reason = "the version has no safe interface")]
    fn kernel_abi() -> Option<u8> {
        const CREATE_RULESET_VERSION: libc::c_uint = 1;
        let no_attributes = std::ptr::null::<libc::c_void>();
        // SAFETY: with this flag the kernel takes no attributes and answers with a number.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_landlock_create_ruleset,
                no_attributes,
                0_usize,
                CREATE_RULESET_VERSION,
            )
        };
        u8::try_from(answer).ok().filter(|abi| *abi > 0)
    }

    fn failed(error: &dyn std::fmt::Display) -> Error {
        Error::new(
            Kind::Io,
            "sandboxFailed",
            format!("the sandbox cannot be prepared: {error}"),
        )
    }

    fn ruleset(sandbox: &Sandbox, tools: BTreeSet<PathBuf>) -> Result<RulesetCreated> {
        let all = AccessFs::from_all(ABI_WANTED);
        let read = AccessFs::from_read(ABI_WANTED);
        let mut ruleset = Ruleset::default()
            .handle_access(all)
            .and_then(|ruleset| ruleset.scope(Scope::from_all(ABI_WANTED)))
            .map_err(|error| failed(&error))?;
        if sandbox.network != Network::Full {
            ruleset = ruleset
                .handle_access(AccessNet::from_all(ABI_WANTED))
                .map_err(|error| failed(&error))?;
        }
        let mut ruleset = ruleset.create().map_err(|error| failed(&error))?;
        if let Network::Loopback { port } = sandbox.network {
            ruleset = ruleset
                .add_rule(NetPort::new(port, AccessNet::ConnectTcp))
                .map_err(|error| failed(&error))?;
        }
        let mut readable: Vec<PathBuf> = SYSTEM_ROOTS.iter().map(PathBuf::from).collect();
        readable.extend(tools);
        readable.extend(paths(&sandbox.readable));
        if sandbox.network == Network::Full {
            readable.extend(std::fs::canonicalize(RESOLVER));
        }
        for root in readable {
            ruleset = allow(ruleset, &root, read, Absent::Skip)?;
        }
        for device in WRITABLE_DEVICES {
            ruleset = allow(ruleset, Path::new(device), all, Absent::Skip)?;
        }
        ruleset = allow(ruleset, Path::new(SHARED_MEMORY), all, Absent::Skip)?;
        for root in paths(&sandbox.writable) {
            ruleset = allow(ruleset, &root, all, Absent::Refuse)?;
        }
        Ok(ruleset)
    }

    fn paths(texts: &[RawText]) -> Vec<PathBuf> {
        texts
            .iter()
            .map(|text| OsString::from(text.clone()).into())
            .collect()
    }

    /// What to do about a path that cannot be opened.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Absent {
        Skip,
        Refuse,
    }

    fn allow(
        ruleset: RulesetCreated,
        path: &Path,
        access: BitFlags<AccessFs>,
        absent: Absent,
    ) -> Result<RulesetCreated> {
        let descriptor = match PathFd::new(path) {
            Ok(descriptor) => descriptor,
            Err(_) if absent == Absent::Skip => return Ok(ruleset),
            Err(error) => {
                return Err(failed(&format!("{} is to be writable: {error}", path.display())));
            }
        };
        // A rule for what is not a folder may carry the rights of files only.
        let access = if path.is_dir() {
            access
        } else {
            access & AccessFs::from_file(ABI_WANTED)
        };
        ruleset
            .add_rule(PathBeneath::new(descriptor, access))
            .map_err(|error| failed(&error))
    }
}

/// Elsewhere nothing is confined; the tier says so.
#[cfg(not(target_os = "linux"))]
mod none {
    use crate::Result;
    use crate::process::wire::Specification;

    pub(in super::super) struct Confinement;

    impl Confinement {
        #[expect(clippy::unnecessary_wraps, reason = "the same signature on every platform")]
        pub(in super::super) fn prepare(_specification: &Specification) -> Result<Self> {
            Ok(Self)
        }

        pub(in super::super) fn landlock_abi(&self) -> Option<u8> {
            None
        }

        pub(in super::super) fn enforce(self) -> std::io::Result<()> {
            Ok(())
        }
    }
}
