// SPDX-License-Identifier: GPL-2.0

//! What the files say together: defaults, what may stand in which file, and what must agree.
//!
//! The kernel and `virgo config check` read the files, each in its own way, and come here for the
//! rest, so that they cannot have different opinions.

use super::{
    grammar::{parse, Fault},
    limits::{KEY_LIMIT, MAX_TEXT_KEYS},
    nodes::Nodes,
    statement::Statement,
};
use crate::{balance::Policy, vuid::NodeId};
use core::net::Ipv4Addr;

/// Shortest key, in bytes.
const MIN_KEY: usize = 16;

/// Longest key of a text session, in bytes: `auth KEY` and the end of the line have 256.
const MAX_TEXT_KEY: usize = 250;

/// A configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigFile {
    /// The cluster, and what this node serves.
    Cloud,
    /// Which nodes this machine's programs use, and how.
    Client,
}

impl ConfigFile {
    /// Where it is.
    pub const fn path(self) -> &'static str {
        match self {
            ConfigFile::Cloud => "/etc/virgo_cloud.conf",
            ConfigFile::Client => "/etc/virgo_client.conf",
        }
    }
}

/// What has been read so far. A file that is not there says nothing; without any the machine is
/// alone.
#[derive(Clone, Copy, Debug)]
pub struct SettingsDraft<'a> {
    cloud_nodes: Nodes,
    client_nodes: Nodes,
    /// With the place where it was said.
    own: Option<(Ipv4Addr, ConfigFile, u32)>,
    auth: bool,
    key_file: &'a str,
    remote_text: bool,
    datagrams: bool,
    text_uid: u32,
    text_keys: usize,
    deadline_ms: u32,
    place: Policy,
    balance: Policy,
    /// With the place where it was said.
    registry: Option<(NodeId, ConfigFile, u32)>,
    run_as: u32,
    callers: bool,
    use_as_kingcobra_service: bool,
    quorum: u32,
}

/// What holds, the key aside.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The nodes of the cluster.
    pub nodes: Nodes,
    /// Which of them this machine is.
    pub me: NodeId,
    /// Bit `n - 1` is set if this machine's programs use node `n`.
    pub used: u64,
    /// Whether text sessions may come from other machines.
    pub remote_text: bool,
    /// Whether short requests go as datagrams, if the other node takes some.
    pub datagrams: bool,
    /// The uid that text sessions act as which know the shared key.
    pub text_uid: u32,
    /// Longest wait for another node, in milliseconds.
    pub deadline_ms: u32,
    /// Where allocations go.
    pub place: Policy,
    /// Where calls run.
    pub balance: Policy,
    /// The node that chooses where calls run.
    pub registry: Option<NodeId>,
    /// The uid that programs run as.
    pub run_as: u32,
    /// Whether something may be called by some users only.
    pub callers: bool,
    /// Whether text for the processor pool goes to the queue.
    pub use_as_kingcobra_service: bool,
    /// How many nodes must agree to grant cluster locks; 0 for more than half.
    pub quorum: u32,
}

impl Default for SettingsDraft<'_> {
    fn default() -> Self {
        SettingsDraft {
            cloud_nodes: Nodes::new(),
            client_nodes: Nodes::new(),
            own: None,
            auth: true,
            key_file: "/etc/virgo.key",
            remote_text: false,
            datagrams: true,
            text_uid: 65534,
            text_keys: 0,
            deadline_ms: 5000,
            place: Policy::Random,
            balance: Policy::LeastUsed,
            registry: None,
            run_as: 65534,
            callers: false,
            use_as_kingcobra_service: false,
            quorum: 0,
        }
    }
}

impl<'a> SettingsDraft<'a> {
    /// Adds what `file` says. [`ConfigFile::Cloud`] comes first: [`ConfigFile::Client`] names some of its
    /// nodes, and its settings prevail.
    ///
    /// # Errors
    ///
    /// The first fault. What stands before it has been added.
    pub fn add(&mut self, file: ConfigFile, contents: &'a [u8]) -> Result<(), Fault> {
        parse(contents, |line, item| self.statement(file, line, item))
    }

    fn statement(
        &mut self,
        file: ConfigFile,
        line: u32,
        item: Statement<'a>,
    ) -> Result<(), &'static str> {
        match (item, file) {
            (Statement::Node(address), ConfigFile::Cloud) => self.cloud_nodes.add(address)?,
            (Statement::Node(address), ConfigFile::Client) => {
                if !self.cloud_nodes.is_empty() && self.cloud_nodes.number(address).is_none() {
                    return Err("a node that /etc/virgo_cloud.conf does not name; add it there");
                }
                self.client_nodes.add(address)?;
            }
            (Statement::SelfAddress(address), _) => self.own = Some((address, file, line)),
            (Statement::DeadlineMs(ms), _) => self.deadline_ms = ms,
            (Statement::Place(place), _) => self.place = place,
            (Statement::Balance(balance), _) => self.balance = balance,
            (Statement::Registry(node), _) => self.registry = Some((node, file, line)),
            (_, ConfigFile::Client) => return Err("this key belongs into /etc/virgo_cloud.conf"),
            (Statement::Quorum(count), _) => self.quorum = count,
            (Statement::Auth(auth), _) => self.auth = auth,
            (Statement::KeyFile(path), _) => self.key_file = path,
            (Statement::RemoteText(yes), _) => self.remote_text = yes,
            (Statement::Datagrams(yes), _) => self.datagrams = yes,
            (Statement::TextUid(uid), _) => self.text_uid = uid,
            // Their files are read by who has the configuration.
            (Statement::TextKey { .. }, _) if self.text_keys >= MAX_TEXT_KEYS => {
                return Err("more than 256 lines 'text_key'");
            }
            (Statement::TextKey { .. }, _) => self.text_keys = self.text_keys.saturating_add(1),
            (Statement::RunAs(uid), _) => self.run_as = uid,
            (Statement::Callers { .. }, _) => self.callers = true,
            (Statement::UseAsKingcobraService(yes), _) => self.use_as_kingcobra_service = yes,
            // For the services that serve them; checked here, so that a bad line is found early.
            (
                Statement::Export { .. } | Statement::Executable { .. } | Statement::Library(_),
                _,
            ) => (),
        }
        Ok(())
    }

    /// The nodes that `file` has named.
    pub fn nodes(&self, file: ConfigFile) -> &Nodes {
        match file {
            ConfigFile::Cloud => &self.cloud_nodes,
            ConfigFile::Client => &self.client_nodes,
        }
    }

    /// Path of the key file; `None` in a laboratory (`auth none`).
    pub fn key_file(&self) -> Option<&'a str> {
        self.auth.then_some(self.key_file)
    }

    /// What holds now that all files are read. `is_local` says whether an address is one of this
    /// machine's.
    ///
    /// # Errors
    ///
    /// The fault, and the file that has it.
    pub fn complete(
        &self,
        is_local: impl Fn(Ipv4Addr) -> bool,
    ) -> Result<Settings, (ConfigFile, Fault)> {
        let file = match self.cloud_nodes.is_empty() {
            true => ConfigFile::Client,
            false => ConfigFile::Cloud,
        };
        let mut nodes = *self.nodes(file);
        if nodes.is_empty() {
            // A machine alone.
            let added = nodes.add(Ipv4Addr::LOCALHOST);
            added.map_err(|reason| (file, Fault::of_file(reason)))?;
        }
        let me = match self.own {
            Some((own, file, line)) => {
                let reason = "self: not among the nodes; say one of them, or nothing";
                nodes.number(own).ok_or((file, Fault { line, reason }))
            }
            None => {
                let reason =
                    "no node has an address of this machine; say which is it: self = ADDRESS";
                let mut own = nodes.iter().filter(|&(_, at)| is_local(at));
                let own = own.next().map(|(id, _)| id);
                own.ok_or((file, Fault::of_file(reason)))
            }
        }?;
        if let Some((registry, file, line)) = self.registry {
            let reason = "registry: no node has this number";
            let known = nodes.address(registry);
            known.ok_or((file, Fault { line, reason }))?;
        }
        let uses =
            |address| self.client_nodes.is_empty() || self.client_nodes.number(address).is_some();
        let used = (0..).zip(nodes.iter()).fold(0, |used, (bit, (_, at))| {
            used | u64::from(uses(at)).wrapping_shl(bit)
        });
        Ok(Settings {
            nodes,
            me,
            used,
            remote_text: self.remote_text,
            datagrams: self.datagrams,
            text_uid: self.text_uid,
            deadline_ms: self.deadline_ms,
            place: self.place,
            balance: self.balance,
            registry: self.registry.map(|(node, _, _)| node),
            run_as: self.run_as,
            callers: self.callers,
            use_as_kingcobra_service: self.use_as_kingcobra_service,
            quorum: self.quorum,
        })
    }
}

/// The key in a key file of these contents, this owner and these permission bits: its bytes
/// without white space round them. Nobody but root may be able to read or change the file.
///
/// # Errors
///
/// What is wrong with the file.
pub fn key(contents: &[u8], uid: u32, mode: u32) -> Result<&[u8], &'static str> {
    if uid != 0 || mode & 0o077 != 0 {
        return Err("must be root's, with mode 0600: chown root, chmod 600; \
             and a new key if others may have read it");
    }
    if contents.len() > KEY_LIMIT.bytes {
        return Err(KEY_LIMIT.exceeded);
    }
    let key = contents.trim_ascii();
    if key.len() < MIN_KEY {
        return Err("shorter than 16 bytes; make one: head -c 32 /dev/urandom | base64");
    }
    Ok(key)
}

/// Judges the key of a text session, as it lies in its file. It has to fit into the line by which it is
/// given, and to be none of `others`: the shared key, which must not cross a wire, and the keys of other
/// text sessions, which act as other users.
///
/// # Errors
///
/// What is wrong with the file.
pub fn check_text_key<'a>(
    key: &[u8],
    others: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(), &'static str> {
    if key.len() > MAX_TEXT_KEY {
        return Err("longer than 250 bytes: auth KEY has to fit into a line of 256");
    }
    if key.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0)) {
        return Err("more than one line, or with NUL: auth KEY has to be a line");
    }
    match others.into_iter().any(|other| other == key) {
        true => Err("the same key as another file's; each needs its own"),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{string::String, vec::Vec};

    #[test]
    fn a_text_key_fits_into_a_line() {
        let others: [&[u8]; 1] = [b"the cluster's key"];
        assert_eq!(check_text_key(&[b'x'; 250], others), Ok(()));
        for bad in [
            &[b'x'; 251][..],
            b"two\nlines of a key",
            b"ends with\rsomething",
            b"a\0nul in a key",
        ] {
            assert!(
                check_text_key(bad, others).is_err(),
                "{}",
                bad.escape_ascii()
            );
        }
        assert!(check_text_key(others[0], others).is_err());
    }

    /// Completes what both files say on a machine with address 10.9.0.2.
    fn settings(cloud: &str, client: &str) -> Result<Settings, (ConfigFile, Fault)> {
        let mut draft = SettingsDraft::default();
        for (file, text) in [(ConfigFile::Cloud, cloud), (ConfigFile::Client, client)] {
            let added = draft.add(file, text.as_bytes());
            added.map_err(|fault| (file, fault))?;
        }
        draft.complete(|at| at == Ipv4Addr::new(10, 9, 0, 2) || at.is_loopback())
    }

    #[test]
    fn without_files_the_machine_is_alone() {
        let alone = settings("", "").unwrap();
        assert_eq!((alone.nodes.len(), alone.me, alone.used), (1, 1, 1));
        assert_eq!(alone.nodes.address(1), Some(Ipv4Addr::LOCALHOST));
        assert_eq!((alone.deadline_ms, alone.text_uid), (5000, 65534));
        assert!(!alone.remote_text && alone.datagrams);
        assert_eq!(SettingsDraft::default().key_file(), Some("/etc/virgo.key"));
    }

    #[test]
    fn the_registry_is_a_node() {
        let nodes = "10.9.0.1,10.9.0.2\n";
        assert_eq!(settings(nodes, "registry = 2").unwrap().registry, Some(2));
        for bad in ["registry = 0", "registry = 3"] {
            let (file, fault) = settings(nodes, bad).unwrap_err();
            assert_eq!((file, fault.line), (ConfigFile::Client, 1));
        }
    }

    #[test]
    fn a_machine_finds_itself_by_its_address() {
        let found = settings("10.9.0.1,10.9.0.2,10.9.0.3", "").unwrap();
        assert_eq!((found.me, found.used), (2, 0b111));
    }

    #[test]
    fn self_prevails_over_the_address_and_the_client_file_over_the_other() {
        let nodes = "10.9.0.1,10.9.0.2,10.9.0.3\nself = 10.9.0.1\n";
        assert_eq!(settings(nodes, "").unwrap().me, 1);
        assert_eq!(settings(nodes, "self = 10.9.0.3").unwrap().me, 3);
    }

    #[test]
    fn the_client_file_chooses_among_the_nodes() {
        let cloud = "10.9.0.1,10.9.0.2,10.9.0.3\ndeadline_ms = 7";
        let chosen = settings(cloud, "10.9.0.3,10.9.0.1\nplace = least-used").unwrap();
        assert_eq!((chosen.me, chosen.used), (2, 0b101));
        assert_eq!((chosen.deadline_ms, chosen.place), (7, Policy::LeastUsed));
    }

    #[test]
    fn nodes_of_the_client_file_are_the_cluster_if_there_are_no_others() {
        let found = settings("self = 10.9.0.4", "10.9.0.3,10.9.0.4").unwrap();
        assert_eq!((found.nodes.len(), found.me, found.used), (2, 2, 0b11));
    }

    #[test]
    fn sixty_four_nodes_are_used() {
        let nodes: Vec<_> = (1..=64).map(|i| std::format!("10.9.0.{i}")).collect();
        assert_eq!(settings(&nodes.join(","), "").unwrap().used, u64::MAX);
    }

    #[test]
    fn files_that_do_not_agree_are_refused_where_they_do_not() {
        let lost = "no node has an address of this machine";
        let stranger = "self: not among the nodes";
        for (cloud, client, file, line, reason) in [
            (
                "10.9.0.1",
                "\n10.9.0.2",
                ConfigFile::Client,
                2,
                "a node that /etc/virgo_cloud",
            ),
            (
                "10.9.0.2",
                "\n\nauth = none",
                ConfigFile::Client,
                3,
                "this key belongs",
            ),
            (
                "10.9.0.2",
                "key_file = /k",
                ConfigFile::Client,
                1,
                "this key belongs",
            ),
            (
                "10.9.0.2",
                "remote_text = yes",
                ConfigFile::Client,
                1,
                "this key belongs",
            ),
            (
                "10.9.0.2",
                "text_uid = 1",
                ConfigFile::Client,
                1,
                "this key belongs",
            ),
            (
                "10.9.0.2",
                "text_key = 1 /k",
                ConfigFile::Client,
                1,
                "this key belongs",
            ),
            (
                "10.9.0.2",
                "export = /a ro",
                ConfigFile::Client,
                1,
                "this key belongs",
            ),
            (
                "10.9.0.2",
                "executable = /a",
                ConfigFile::Client,
                1,
                "this key belongs",
            ),
            (
                "10.9.0.2",
                "library = /a",
                ConfigFile::Client,
                1,
                "this key belongs",
            ),
            (
                "\nself = 10.9.0.9\n10.9.0.2",
                "",
                ConfigFile::Cloud,
                2,
                stranger,
            ),
            (
                "10.9.0.2",
                "self = 10.9.0.9",
                ConfigFile::Client,
                1,
                stranger,
            ),
            (
                "self = 10.9.0.9",
                "10.9.0.2",
                ConfigFile::Cloud,
                1,
                stranger,
            ),
            ("self = 10.9.0.2", "", ConfigFile::Cloud, 1, stranger),
            ("10.9.0.1", "", ConfigFile::Cloud, 0, lost),
            ("", "10.9.0.1", ConfigFile::Client, 0, lost),
        ] {
            let (at, fault) = settings(cloud, client).unwrap_err();
            assert_eq!((at, fault.line), (file, line), "{cloud:?} {client:?}");
            assert!(fault.reason.starts_with(reason), "{fault:?}");
        }
    }

    #[test]
    fn a_laboratory_has_no_key_file() {
        let key_file = |text: &'static str| {
            let mut draft = SettingsDraft::default();
            draft.add(ConfigFile::Cloud, text.as_bytes()).unwrap();
            draft.key_file()
        };
        assert_eq!(key_file("key_file = /k"), Some("/k"));
        assert_eq!(key_file("key_file = /k\nauth = none"), None);
    }

    #[test]
    fn a_key_is_taken_without_the_space_round_it() {
        assert_eq!(
            key(b" 0123456789abcdef\n", 0, 0o600),
            Ok(&b"0123456789abcdef"[..])
        );
        assert_eq!(key(&[b'k'; 4096], 0, 0o400), Ok(&[b'k'; 4096][..]));
    }

    #[test]
    fn text_keys_are_limited_in_number() {
        let lines = "text_key = 1 /k\n".repeat(MAX_TEXT_KEYS);
        let nodes = std::format!("10.9.0.2\n{lines}");
        assert!(settings(&nodes, "").is_ok());
        let (file, fault) = settings(&std::format!("{nodes}text_key = 1 /k"), "").unwrap_err();
        assert_eq!((file, fault.line), (ConfigFile::Cloud, 258));
    }

    #[test]
    fn each_file_has_a_key_of_its_own() {
        let [one, other] = [b"0123456789abcdef", b"0123456789abcdeg"];
        assert_eq!(check_text_key(one, [&other[..]]), Ok(()));
        assert!(check_text_key(one, [&other[..], &one[..]]).is_err());
    }

    #[test]
    fn a_bad_key_file_is_refused() {
        let good = &b"0123456789abcdef"[..];
        for (contents, uid, mode, reason) in [
            (good, 1, 0o600, "must be root's"),
            (good, 0, 0o640, "must be root's"),
            (good, 0, 0o604, "must be root's"),
            (&good[1..], 0, 0o600, "shorter than 16 bytes"),
            (b"", 0, 0o600, "shorter than 16 bytes"),
            (b" 0123456789abcde\n", 0, 0o600, "shorter than 16 bytes"),
            (&[b'k'; 4097], 0, 0o600, "longer than 4096 bytes"),
        ] {
            let refused = key(contents, uid, mode).unwrap_err();
            assert!(refused.starts_with(reason), "{refused}");
        }
    }

    /// Lines that often fit together.
    fn text() -> impl Strategy<Value = String> {
        let line = prop_oneof![
            "(nodes = )?10\\.9\\.0\\.[1-5](, ?10\\.9\\.0\\.[1-5]){0,3}",
            "self = 10\\.9\\.0\\.[1-5]",
            "(auth|place|remote_text|text_uid|deadline_ms) = (none|random|yes|[0-9]{1,6})",
            "(key_file|executable|library|export) = /[a-z ]{0,5}( r[ow])?",
            "text_key = [0-9]{1,3} /[a-z]{0,5}",
            "[ -~]{0,12}",
        ];
        prop::collection::vec(line, 0..6).prop_map(|lines| lines.join("\n"))
    }

    proptest! {
        #[test]
        fn what_is_taken_is_consistent(cloud in text(), client in text()) {
            let Ok(taken) = settings(&cloud, &client) else { return Ok(()) };
            prop_assert!(taken.nodes.address(taken.me).is_some());
            prop_assert_ne!(taken.used, 0);
            let all = u64::MAX >> (64 - taken.nodes.len());
            prop_assert_eq!(taken.used & !all, 0);
        }

        #[test]
        fn a_fault_is_in_a_line_of_its_file(cloud in text(), client in text()) {
            let Err((file, fault)) = settings(&cloud, &client) else { return Ok(()) };
            let text = match file { ConfigFile::Cloud => &cloud, ConfigFile::Client => &client };
            prop_assert!(fault.line as usize <= text.lines().count());
        }

        #[test]
        fn an_empty_client_file_changes_nothing(cloud in text()) {
            let [one, other] = ["", "# nothing\n\n"].map(|client| {
                let settings = settings(&cloud, client);
                settings.map(|s| (s.nodes.len(), s.me, s.used, s.deadline_ms, s.text_uid))
            });
            prop_assert_eq!(one, other);
        }

        #[test]
        fn a_key_is_what_the_file_has_between_white_space(
            before in "[ \t\n]{0,3}", secret in "[!-~]([ -~]{0,30}[!-~])?", after in "[ \t\n]{0,3}",
        ) {
            let file = [before, secret.clone(), after].concat();
            match key(file.as_bytes(), 0, 0o600) {
                Ok(key) => prop_assert_eq!(key, secret.as_bytes()),
                Err(_) => prop_assert!(secret.len() < MIN_KEY),
            }
        }
    }
}
