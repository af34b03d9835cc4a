// SPDX-License-Identifier: GPL-2.0
//! Which devices may be used.
//!
//! A policy is a text of lines `allow|deny|log WORD...`. The first line all of whose words fit a device
//! decides; with `log` it is allowed and noted. A device that no line fits is allowed. Words:
//!
//! | word | fits |
//! |------|------|
//! | `all` | every device |
//! | `id=0781:5567`, `id=0781:*` | vendor and product |
//! | `serial=ABC` | the serial number |
//! | `class=08`, `class=03/01/01` | a device with such an interface |
//! | `port=1-1` | where it is plugged in, and behind a hub there |
//! | `behaviour=injected` | what a capture has found: `storage-types`, `keyboard-has-bulk`, `changed`, `injected` |
//!
//! Hubs are never denied: what is behind them is looked at by itself. Nor is the last keyboard of the machine, so
//! that somebody can put it right: one that has no interface but for people, unless it is denied for its
//! behaviour. A device that is nothing else but says that it is a keyboard gets in by that, if there is no other.
//!
//! A device that is denied has no interfaces, and does nothing that a capture would show: whether `class`
//! and `behaviour` fit it is not known. If that matters it stays denied; only a line that fits without
//! them lets it in again.

use crate::{
    sysfs::UsbDevice,
    traffic::{Anomaly, DeviceFinding},
};
use anyhow::{Context, Result, bail};
use serde::Serialize;

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The device may be used.
    Allow,
    /// It may not.
    Deny,
    /// It may, and somebody should know.
    Log,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    All,
    Id(u16, Option<u16>),
    Serial(String),
    Class(u8, Option<u8>, Option<u8>),
    Port(String),
    Behaviour(Anomaly),
}

/// A line of a policy.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Number of the line, from 1.
    pub line: usize,
    /// What it does.
    pub action: Action,
    words: Vec<Word>,
}

/// A policy.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Its rules, in order.
    pub rules: Vec<Rule>,
}

/// What a policy says of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// Where it is plugged in.
    pub port: String,
    /// Vendor and product.
    pub id: String,
    /// What is to be done.
    pub action: Action,
    /// Line of the rule; none fits if there is no number.
    pub line: Option<usize>,
    /// Why it is not done: `hub`, `last keyboard` or `stays denied`.
    pub spared: Option<&'static str>,
    /// How the kernel's switch is to be changed: whether the device may be used from now on.
    pub switch: Option<bool>,
}

/// Whether a rule fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    Yes,
    No,
    /// Nobody can tell while the device is denied.
    Unknown,
}

impl Policy {
    /// Parses a policy.
    ///
    /// # Errors
    ///
    /// The line that is wrong, and why.
    pub fn parse(text: &str) -> Result<Self> {
        let mut rules = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let Some(action) = words.next() else {
                continue;
            };
            let rule = || -> Result<Rule> {
                let action = match action {
                    "allow" => Action::Allow,
                    "deny" => Action::Deny,
                    "log" => Action::Log,
                    other => bail!("'{other}' is not allow, deny or log"),
                };
                let words = words.map(word).collect::<Result<Vec<_>>>()?;
                if words.is_empty() {
                    bail!("a rule for all devices says 'all'");
                }
                Ok(Rule {
                    line: number + 1,
                    action,
                    words,
                })
            };
            rules.push(rule().with_context(|| format!("line {}", number + 1))?);
        }
        Ok(Policy { rules })
    }

    /// What it says of each of `devices`, given what a capture has found of them, and how many keyboards there are
    /// that are no USB devices.
    pub fn decide(
        &self,
        devices: &[UsbDevice],
        findings: &[DeviceFinding],
        other_keyboards: usize,
    ) -> Vec<Decision> {
        let for_behaviour = |line: Option<usize>| {
            let rule = self.rules.iter().find(|rule| Some(rule.line) == line);
            rule.is_some_and(Rule::is_for_behaviour)
        };
        let mut decisions: Vec<Decision> = devices
            .iter()
            .map(|device| {
                let fits = self
                    .rules
                    .iter()
                    .map(|rule| (rule, rule.fits(device, findings)));
                let found = fits.into_iter().find(|(_, fit)| *fit != Fit::No);
                let action = found.map_or(Action::Allow, |(rule, _)| rule.action);
                let decided = found.is_some_and(|(_, fit)| fit == Fit::Yes);
                let spared = if action == Action::Deny && device.is_hub() {
                    Some("hub")
                } else if !device.authorized && !decided {
                    Some("stays denied")
                } else {
                    None
                };
                Decision {
                    port: device.port.clone(),
                    id: format!("{:04x}:{:04x}", device.vendor, device.product),
                    action,
                    line: found.map(|(rule, _)| rule.line),
                    spared,
                    switch: None,
                }
            })
            .collect();
        // Someone has to be able to put it right.
        let denied = |d: &Decision| d.action == Action::Deny && d.spared.is_none();
        let usable = |device: &UsbDevice| device.is_keyboard() && device.authorized;
        let mut pairs = devices.iter().zip(&decisions);
        if other_keyboards == 0 && pairs.all(|(device, d)| !usable(device) || denied(d)) {
            let mut pairs = devices.iter().zip(&mut decisions);
            let spared = pairs.find(|(device, d)| {
                usable(device) && device.is_only_human() && !for_behaviour(d.line)
            });
            if let Some((_, decision)) = spared {
                decision.spared = Some("last keyboard");
            }
        }
        for (device, decision) in devices.iter().zip(&mut decisions) {
            let allowed = decision.action != Action::Deny;
            let changes = decision.spared.is_none() && device.authorized != allowed;
            decision.switch = changes.then_some(allowed);
        }
        decisions
    }

    /// The findings that are of none of `devices`: of what was unplugged, or is not known well enough.
    pub fn unmatched<'a>(
        devices: &[UsbDevice],
        findings: &'a [DeviceFinding],
    ) -> Vec<&'a DeviceFinding> {
        let is_of_none = |finding: &&DeviceFinding| !devices.iter().any(|d| is_of(finding, d));
        findings.iter().filter(is_of_none).collect()
    }

    /// How many decisions each rule has made, by its line.
    pub fn hits(&self, decisions: &[Decision]) -> Vec<(usize, usize)> {
        let count = |line| decisions.iter().filter(|d| d.line == Some(line)).count();
        self.rules.iter().map(|r| (r.line, count(r.line))).collect()
    }
}

/// Whether a finding is of a device: addresses are used again, so the id has to be the same, too.
fn is_of(finding: &DeviceFinding, device: &UsbDevice) -> bool {
    finding.address == (device.bus, device.device)
        && finding.id == Some((device.vendor, device.product))
}

impl Rule {
    fn is_for_behaviour(&self) -> bool {
        let mut words = self.words.iter();
        words.any(|word| matches!(word, Word::Behaviour(_)))
    }

    fn fits(&self, device: &UsbDevice, findings: &[DeviceFinding]) -> Fit {
        let mut fit = Fit::Yes;
        for word in &self.words {
            let is_seen = matches!(word, Word::Class(..) | Word::Behaviour(_));
            if word.fits(device, findings) {
                continue;
            }
            if device.authorized || !is_seen {
                return Fit::No;
            }
            fit = Fit::Unknown;
        }
        fit
    }
}

impl Word {
    fn fits(&self, device: &UsbDevice, findings: &[DeviceFinding]) -> bool {
        match self {
            Word::All => true,
            Word::Id(vendor, product) => {
                device.vendor == *vendor && product.is_none_or(|p| p == device.product)
            }
            Word::Serial(serial) => device.serial.as_ref() == Some(serial),
            Word::Class(class, subclass, protocol) => device.interfaces.iter().any(|i| {
                i.class.0 == *class
                    && subclass.is_none_or(|s| s == i.class.1)
                    && protocol.is_none_or(|p| p == i.class.2)
            }),
            Word::Port(port) => {
                let behind = device.port.strip_prefix(port.as_str());
                behind.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            }
            Word::Behaviour(anomaly) => findings
                .iter()
                .any(|finding| is_of(finding, device) && finding.anomaly == *anomaly),
        }
    }
}

fn word(word: &str) -> Result<Word> {
    if word == "all" {
        return Ok(Word::All);
    }
    let (key, value) = word
        .split_once('=')
        .with_context(|| format!("'{word}' is no word"))?;
    let byte =
        |text: &str| u8::from_str_radix(text, 16).with_context(|| format!("'{text}' is no class"));
    let id =
        |text: &str| u16::from_str_radix(text, 16).with_context(|| format!("'{text}' is no id"));
    Ok(match key {
        "id" => {
            let (vendor, product) = value.split_once(':').context("an id is VENDOR:PRODUCT")?;
            let product = (product != "*").then(|| id(product)).transpose()?;
            Word::Id(id(vendor)?, product)
        }
        "serial" => Word::Serial(value.to_owned()),
        "class" => {
            let mut parts = value.split('/');
            let class = byte(parts.next().unwrap_or_default())?;
            let subclass = parts.next().map(byte).transpose()?;
            let protocol = parts.next().map(byte).transpose()?;
            if parts.next().is_some() {
                bail!("a class is CLASS/SUBCLASS/PROTOCOL");
            }
            Word::Class(class, subclass, protocol)
        }
        "port" => Word::Port(value.to_owned()),
        "behaviour" => Word::Behaviour(match value {
            "storage-types" => Anomaly::StorageTypes,
            "keyboard-has-bulk" => Anomaly::KeyboardHasBulk,
            "changed" => Anomaly::Changed,
            "injected" => Anomaly::Injected,
            other => bail!("no behaviour is called '{other}'"),
        }),
        other => bail!("no word is called '{other}'"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysfs;

    fn decide(policy: &str) -> Vec<Decision> {
        let tree = sysfs::tests::tree();
        let devices = sysfs::devices(tree.path()).unwrap();
        Policy::parse(policy).unwrap().decide(&devices, &[], 0)
    }

    fn finding(id: Option<(u16, u16)>, anomaly: Anomaly) -> DeviceFinding {
        let address = (1, 5);
        DeviceFinding {
            address,
            id,
            anomaly,
        }
    }

    #[test]
    fn the_first_line_that_fits_decides() {
        let decisions =
            decide("# sticks\nallow id=0781:* serial=other\n\ndeny class=08\nlog all\n");
        assert_eq!(decisions[0].action, Action::Deny);
        assert_eq!(decisions[0].line, Some(4));
        assert_eq!(decisions[1].action, Action::Log);
        assert_eq!(decisions[1].line, Some(5));
    }

    #[test]
    fn the_last_keyboard_is_spared() {
        let decisions = decide("deny all");
        assert_eq!(
            (decisions[0].action, decisions[0].spared),
            (Action::Deny, None)
        );
        assert_eq!(decisions[1].spared, Some("last keyboard"));
        // Not if there is one that is no USB device.
        let tree = sysfs::tests::tree();
        let devices = sysfs::devices(tree.path()).unwrap();
        let policy = Policy::parse("deny all").unwrap();
        let decisions = policy.decide(&devices, &[], 1);
        assert_eq!(decisions[1].switch, Some(false));
    }

    #[test]
    fn what_only_looks_like_the_last_keyboard_is_not_spared() {
        let tree = sysfs::tests::tree();
        let mut devices = sysfs::devices(tree.path()).unwrap();
        let keyboard = (devices[1].vendor, devices[1].product);
        let findings = [finding(Some(keyboard), Anomaly::Injected)];
        let policy = Policy::parse("deny behaviour=injected\ndeny all").unwrap();
        let decisions = policy.decide(&devices, &findings, 0);
        assert_eq!(
            (decisions[1].line, decisions[1].switch),
            (Some(1), Some(false))
        );
        // Storage, too.
        let storage = devices[0].interfaces[0].clone();
        devices[1].interfaces.push(storage);
        let decisions = policy.decide(&devices, &[], 0);
        assert_eq!(
            (decisions[1].line, decisions[1].switch),
            (Some(2), Some(false))
        );
    }

    /// A denied device has no interfaces, so a line with its class does not fit it any more.
    #[test]
    fn what_is_denied_by_its_class_stays_denied() {
        let tree = sysfs::tests::tree();
        let mut devices = sysfs::devices(tree.path()).unwrap();
        let policy = Policy::parse("deny class=08\nlog all\n").unwrap();
        let first = policy.decide(&devices, &[], 0);
        assert_eq!((first[0].switch, first[0].line), (Some(false), Some(1)));
        devices[0].authorized = false;
        devices[0].interfaces.clear();
        let second = policy.decide(&devices, &[], 0);
        assert_eq!((second[0].switch, second[0].line), (None, Some(1)));
        assert_eq!(second[0].spared, Some("stays denied"));
        // Nor does a line that might allow it, or none at all.
        for text in [
            "allow class=03\nlog all",
            "deny behaviour=injected\nallow all",
            "",
        ] {
            let decisions = Policy::parse(text).unwrap().decide(&devices, &[], 0);
            assert_eq!(decisions[0].switch, None, "{text}");
        }
        // But one that fits whatever its class is does.
        let decisions = Policy::parse("deny class=08 serial=other\nallow id=0781:*")
            .unwrap()
            .decide(&devices, &[], 0);
        assert_eq!(
            (decisions[0].switch, decisions[0].line),
            (Some(true), Some(2))
        );
    }

    #[test]
    fn a_port_is_not_the_beginning_of_another() {
        let decisions = decide("deny port=1");
        assert!(decisions.iter().all(|d| d.action == Action::Allow));
    }

    #[test]
    fn findings_decide() {
        let tree = sysfs::tests::tree();
        let devices = sysfs::devices(tree.path()).unwrap();
        let policy = Policy::parse("deny behaviour=injected class=08").unwrap();
        let found = [finding(Some((0x0781, 0x5567)), Anomaly::Injected)];
        let decisions = policy.decide(&devices, &found, 0);
        assert_eq!(decisions[0].action, Action::Deny);
        assert_eq!(policy.hits(&decisions), [(1, 1)]);
        assert_eq!(Policy::unmatched(&devices, &found), [&found[0]; 0]);
    }

    /// Another device may have the address by now.
    #[test]
    fn findings_of_other_devices_do_not_decide() {
        let tree = sysfs::tests::tree();
        let devices = sysfs::devices(tree.path()).unwrap();
        let policy = Policy::parse("deny behaviour=injected").unwrap();
        for id in [None, Some((0x0781, 0x5568))] {
            let found = [finding(id, Anomaly::Injected)];
            let decisions = policy.decide(&devices, &found, 0);
            assert!(decisions.iter().all(|d| d.action == Action::Allow));
            assert_eq!(Policy::unmatched(&devices, &found), [&found[0]]);
        }
    }

    #[test]
    fn a_wrong_line_is_named() {
        for wrong in [
            "deny",
            "forbid all",
            "deny id=0781",
            "deny color=red",
            "deny class=08/06/50/1",
        ] {
            let error = Policy::parse(&format!("allow all\n{wrong}")).unwrap_err();
            assert!(format!("{error:#}").contains("line 2"), "{wrong}");
        }
    }
}
