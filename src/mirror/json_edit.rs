//! Changes of a JSON text in the style of its author.

use std::fmt::Write as _;
use std::ops::Range;

use super::json::{Json, Member, Node, quoted};

/// Changes of a text, each at a position in the original text.
#[derive(Default)]
pub struct Edits(Vec<(Range<usize>, String)>);

impl Edits {
    /// Replaces the text in a range.
    pub fn replace(&mut self, range: Range<usize>, with: String) {
        let place = |range: &Range<usize>| (range.start, range.end);
        let at = self.0.partition_point(|(other, _)| place(other) <= place(&range));
        self.0.insert(at, (range, with));
    }

    /// Inserts a text at a position.
    pub fn insert(&mut self, at: usize, text: String) {
        self.replace(at..at, text);
    }

    /// The text with all changes.
    pub fn apply(self, text: &str) -> String {
        let mut after = String::with_capacity(text.len() + 64);
        let mut at = 0;
        for (range, with) in &self.0 {
            after.push_str(text.get(at..range.start).unwrap_or_default());
            after.push_str(with);
            at = range.end;
        }
        after.push_str(text.get(at..).unwrap_or_default());
        after
    }
}

/// Adds a member after the last one, with the separator that the last one has before it.
pub fn append(json: Json<'_>, object: Node<'_>, members: &[Member<'_>], key: &str, value: &str, edits: &mut Edits) {
    let Some(member) = members.last() else { return };
    let colon = colon(json, member);
    let before = members.len().checked_sub(2).and_then(|index| members.get(index));
    let mut gap = gap(json.between(before.map_or(object.start() + 1, |member| member.value.end()), member.key.start()));
    if gap.is_empty() && before.is_none() && colon.ends_with(' ') {
        gap = " ";
    }
    edits.insert(member.value.end(), format!(",{gap}{}{colon}{value}", quoted(key)));
}

/// Removes members, each with the comma before it, or with the one behind it if no member before it stays. At least one member
/// has to stay.
pub fn remove(members: &[Member<'_>], keys: &[&str], edits: &mut Edits) {
    let goes = |member: &Member<'_>| keys.iter().any(|key| member.key.says(key));
    let first_kept = members.iter().position(|member| !goes(member)).unwrap_or(members.len());
    if let (Some(first), Some(kept)) = (members.first(), members.get(first_kept)) {
        edits.replace(first.key.start()..kept.key.start(), String::new());
    }
    for pair in members.get(first_kept..).unwrap_or_default().windows(2) {
        if let [before, member] = pair
            && goes(member)
        {
            edits.replace(before.value.end()..member.value.end(), String::new());
        }
    }
}

/// The formatting of the file as a whole. On one line, `newline`, `unit` and `level` are empty.
pub struct Style<'a> {
    /// The line ending.
    pub newline: &'a str,
    /// The indentation of one level.
    pub unit: &'a str,
    /// The indentation of the members of the outermost object.
    pub level: &'a str,
    /// The text between a key and its value.
    pub colon: &'a str,
    /// The text inside the braces of an object on one line.
    padding: &'a str,
}

impl<'a> Style<'a> {
    /// The style of a text by its outermost object.
    pub fn of_file(json: Json<'a>, root: Node<'a>, top: &[Member<'a>]) -> Self {
        if let Some(member) = top.first() {
            let gap = gap(json.between(root.start() + 1, member.key.start()));
            let level = gap.trim_start_matches(['\r', '\n']);
            let newline = &gap[..gap.len() - level.len()];
            let colon = colon(json, member);
            return match newline {
                "" => Self { newline, unit: "", level: "", colon, padding: gap },
                _ => Self { newline, unit: level, level, colon, padding: "" },
            };
        }
        // An empty object shows little: one line stays one line, otherwise it is formatted as by the tools of Homebridge.
        let inside = root.raw();
        let newline = if inside.contains("\r\n") {
            "\r\n"
        } else if inside.contains('\n') {
            "\n"
        } else {
            ""
        };
        match newline {
            "" => Self { newline, unit: "", level: "", colon: ":", padding: "" },
            _ => Self { newline, unit: "    ", level: "    ", colon: ": ", padding: "" },
        }
    }

    /// The formatting of an object whose closing brace has this indentation.
    pub fn pieces(&self, indent: &str) -> Pieces {
        if self.newline.is_empty() {
            let between = if self.colon.ends_with(' ') { " " } else { "" };
            return Pieces {
                open: self.padding.into(),
                between: between.into(),
                close: self.padding.into(),
                colon: self.colon.into(),
            };
        }
        let inner = format!("{}{indent}{}", self.newline, self.unit);
        let close = format!("{}{indent}", self.newline);
        Pieces { open: inner.clone(), between: inner, close, colon: self.colon.into() }
    }
}

/// The separators of an object.
pub struct Pieces {
    open: String,
    /// After a comma.
    pub between: String,
    close: String,
    colon: String,
}

impl Pieces {
    /// The separators of an object; `None` if it has no members.
    pub fn of(json: Json<'_>, node: Node<'_>) -> Option<Self> {
        let members = json.members(node)?;
        let (first, end) = (members.first()?, members.last()?.value.end());
        let open = gap(json.between(node.start() + 1, first.key.start()));
        let colon = colon(json, first);
        let between = match members.get(1) {
            Some(second) => gap(json.between(first.value.end(), second.key.start())),
            None if open.is_empty() && colon.ends_with(' ') => " ",
            None => open,
        };
        let close = gap(json.between(end, node.end() - 1));
        Some(Self { open: open.into(), between: between.into(), close: close.into(), colon: colon.into() })
    }

    /// An object with these members, with these separators.
    pub fn object(&self, fields: &[(&str, &str)]) -> String {
        let mut text = String::from("{");
        for (index, (key, value)) in fields.iter().enumerate() {
            text.push_str(if index == 0 { "" } else { "," });
            text.push_str(if index == 0 { &self.open } else { &self.between });
            let _ = write!(text, "{}{}{}", quoted(key), self.colon, quoted(value));
        }
        text.push_str(&self.close);
        text.push('}');
        text
    }
}

/// The text between a comma or a bracket and what follows it; of several lines, the last.
pub fn gap(between: &str) -> &str {
    let gap = between.rsplit(',').next().unwrap_or_default();
    let start = match gap.rfind('\n') {
        Some(at) if gap[..at].ends_with('\r') => at - 1,
        Some(at) => at,
        None => gap.rfind('\r').unwrap_or(0),
    };
    &gap[start..]
}

fn colon<'a>(json: Json<'a>, member: &Member<'a>) -> &'a str {
    let colon = json.between(member.key.end(), member.value.start());
    if colon.contains(['\r', '\n']) { ": " } else { colon }
}
