// SPDX-License-Identifier: GPL-2.0
//! Programs that are confined: who cannot open `/dev/virgo` cannot reach files through VIRGO.
#![expect(
    unsafe_code,
    reason = "Landlock and mount(2) have no safe interface here"
)]

use crate::{
    place::{Dir, EXPORT, errno, other_node, this_node},
    raw, tests,
};
use std::{fs, os::unix::fs::PermissionsExt, path::Path, thread};
use virgo::{File, Open};

tests![
    a_landlock_domain_needs_the_device,
    a_container_needs_the_device,
    something_else_of_that_name_is_no_right,
    permissions_of_the_device_count,
    where_an_export_is_concerns_nobody,
];

const DEVICE: &str = "/dev/virgo";

/// Runs `confined` in a thread of its own, to which alone its limits apply.
fn in_thread<T: Send>(confined: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(confined);
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// This node and another: who is confined cannot find out.
fn nodes() -> [u32; 2] {
    [this_node(), other_node()]
}

/// No call that names a file gets anywhere, on this node or another.
fn assert_refused(nodes: [u32; 2]) {
    for node in nodes {
        let at = |name: &str| format!("{node}:{EXPORT}/{name}");
        let root = at("");
        for (what, found) in [
            ("open", errno(File::open(format!("{node}:/srv/ro/readme")))),
            ("create", errno(Open::new().write().create().open(at("no")))),
            ("stat", errno(virgo::metadata(&root))),
            ("list", errno(virgo::read_dir(&root))),
            ("mkdir", errno(virgo::create_dir(at("no")))),
            ("unlink", errno(virgo::remove_file(at("no")))),
            ("rename", errno(virgo::rename(at("no"), at("nor")))),
        ] {
            assert_eq!(found, libc::EPERM, "{what} on node {node}");
        }
    }
    // The call of 2017.
    let name = format!("{}:/srv/ro/readme\0", nodes[0]);
    assert_eq!(raw::open_name(&name), Err(rustix::io::Errno::PERM));
}

fn assert_served(nodes: [u32; 2]) {
    for node in nodes {
        let opened = File::open(format!("{node}:/srv/ro/readme"));
        drop(opened.unwrap_or_else(|error| panic!("{error}")));
    }
}

/// The current thread may open only what is beneath `allowed`, from now on.
fn landlock(allowed: &[&str]) {
    const CREATE_RULESET: libc::c_long = 444;
    const ADD_RULE: libc::c_long = 445;
    const RESTRICT_SELF: libc::c_long = 446;
    const PATH_BENEATH: u64 = 1;
    /// Execute, write and read files, list directories.
    const RIGHTS: u64 = 0xf;
    const OF_FILES: u64 = 0x7;

    #[repr(C, packed)]
    struct Beneath {
        rights: u64,
        parent: i32,
    }

    let call = |number, a: u64, b: u64, c: u64| {
        // SAFETY: The structures are as Landlock has them, and live until the call returns.
        let result = unsafe { libc::syscall(number, a, b, c, 0) };
        let error = std::io::Error::last_os_error();
        assert!(result >= 0, "Landlock call {number}: {error}");
        result
    };
    let rights = RIGHTS;
    let ruleset = (&raw const rights).expose_provenance() as u64;
    let ruleset = call(CREATE_RULESET, ruleset, 8, 0) as u64;
    for path in allowed {
        let parent = fs::File::open(path).expect("open");
        let rule = Beneath {
            rights: if Path::new(path).is_dir() {
                RIGHTS
            } else {
                OF_FILES
            },
            parent: std::os::fd::AsRawFd::as_raw_fd(&parent),
        };
        let rule = (&raw const rule).expose_provenance() as u64;
        // SAFETY: As above; the call has four arguments.
        let added = unsafe { libc::syscall(ADD_RULE, ruleset, PATH_BENEATH, rule, 0) };
        assert_eq!(added, 0, "{path}: {}", std::io::Error::last_os_error());
    }
    // SAFETY: Changes this thread only.
    let set = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(set, 0, "no new privileges");
    call(RESTRICT_SELF, ruleset, 0, 0);
}

fn a_landlock_domain_needs_the_device() {
    let nodes = nodes();
    in_thread(|| {
        let before = File::open(format!("{}:/srv/ro/readme", nodes[1])).expect("open");
        landlock(&["/tmp", "/srv/ro"]);
        assert!(fs::read("/etc/hosts").is_err(), "Landlock is not in force");
        assert_refused(nodes);
        // What it had is its own, as with every descriptor.
        let mut data = [0; 4];
        assert_eq!(before.read_at(0, &mut data).expect("read"), 4);
    });
    in_thread(|| {
        landlock(&[DEVICE]);
        assert!(fs::read("/etc/hosts").is_err(), "Landlock is not in force");
        assert_served(nodes);
    });
}

fn a_container_needs_the_device() {
    let nodes = nodes();
    in_thread(|| {
        let dir = format!("/tmp/container-{}", std::process::id());
        fs::create_dir(&dir).expect("mkdir");
        // SAFETY: The thread alone has another root directory then.
        let unshared = unsafe { libc::unshare(libc::CLONE_FS) };
        assert_eq!(unshared, 0, "unshare");
        std::os::unix::fs::chroot(&dir).expect("chroot");
        assert_refused(nodes);
    });
    fs::remove_dir(format!("/tmp/container-{}", std::process::id())).expect("rmdir");
}

fn something_else_of_that_name_is_no_right() {
    let nodes = nodes();
    in_thread(|| {
        // SAFETY: The thread alone has other mounts then.
        let unshared = unsafe { libc::unshare(libc::CLONE_NEWNS) };
        assert_eq!(unshared, 0, "unshare");
        let mount = |kind: &std::ffi::CStr, to: &std::ffi::CStr, flags| {
            let none = std::ptr::null();
            // SAFETY: The strings end with NUL.
            let mounted =
                unsafe { libc::mount(none, to.as_ptr(), kind.as_ptr(), flags, none.cast()) };
            assert_eq!(mounted, 0, "mount: {}", std::io::Error::last_os_error());
        };
        mount(c"", c"/", libc::MS_REC | libc::MS_PRIVATE);
        assert_served(nodes);
        mount(c"tmpfs", c"/dev", 0);
        assert_refused(nodes);
        fs::write(DEVICE, "").expect("write");
        assert_refused(nodes);
        // SAFETY: The string ends with NUL.
        let made = unsafe {
            libc::unlink(c"/dev/virgo".as_ptr());
            // /dev/null
            libc::mknod(
                c"/dev/virgo".as_ptr(),
                libc::S_IFCHR | 0o666,
                libc::makedev(1, 3),
            )
        };
        assert_eq!(made, 0, "mknod");
        assert_refused(nodes);
    });
}

fn permissions_of_the_device_count() {
    let nodes = nodes();
    let set = |mode| {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(DEVICE, permissions).expect("chmod");
    };
    assert_eq!(
        fs::metadata(DEVICE).expect("stat").permissions().mode() & 0o777,
        0o666
    );
    set(0o600);
    let of_others = std::panic::catch_unwind(|| raw::as_uid(1000, || assert_refused(nodes)));
    let of_root = std::panic::catch_unwind(|| assert_served(nodes));
    set(0o666);
    raw::as_uid(1000, || assert_served(nodes));
    assert!(of_others.is_ok() && of_root.is_ok());
}

/// The exported directory is in one that only root may enter: that is the administrator's affair,
/// and the answer is the same for all, on this node as for others.
fn where_an_export_is_concerns_nobody() {
    let dir = Dir::on(this_node());
    let config = "/etc/virgo_cloud.conf";
    let before = fs::read_to_string(config).expect("the configuration");
    let (closed, open) = (format!("{}/closed", dir.path()), "closed/open");
    fs::create_dir_all(format!("{}/{open}", dir.path())).expect("mkdir");
    fs::write(format!("{closed}/open/a"), "found").expect("write");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).expect("chmod");
    let reload = || {
        let reloaded = std::process::Command::new("virgo")
            .args(["config", "reload"])
            .status();
        assert!(reloaded.expect("virgo").success());
    };
    fs::write(config, format!("{before}export = {closed}/open ro\n")).expect("write");
    reload();
    let read = |uid| {
        raw::as_uid(uid, || {
            let file = File::open(dir.at("closed/open/a"))?;
            let mut data = [0; 5];
            file.read_at(0, &mut data)
        })
    };
    let found = [0, 1000].map(read);
    fs::write(config, before).expect("write");
    reload();
    fs::remove_dir_all(closed).expect("rm");
    for found in found {
        assert_eq!(found.map_err(|error| error.to_string()), Ok(5));
    }
}
