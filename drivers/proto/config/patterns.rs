// SPDX-License-Identifier: GPL-2.0

//! Patterns of the arguments of programs.

/// Whether `args` are such as the patterns of an executable allow.
pub fn args_match<'a>(patterns: &str, args: impl Iterator<Item = &'a [u8]>) -> bool {
    if patterns.is_empty() {
        return true;
    }
    let mut patterns = patterns.split_whitespace();
    args.into_iter()
        .all(|arg| patterns.next().is_some_and(|p| matches(p.as_bytes(), arg)))
        && patterns.next().is_none()
}

/// Whether `text` is `pattern`, in which `*` stands for any bytes.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let mut parts = pattern.split(|&byte| byte == b'*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        // The first place is as good as any: what follows it can only be more.
        let found = (0..=rest.len()).find_map(|at| rest.get(at..)?.strip_prefix(part));
        match found {
            Some(behind) => rest = behind,
            None => return false,
        }
    }
    rest.ends_with(last)
}
