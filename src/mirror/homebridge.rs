//! Homebridge's `config.json`: the token is the `refreshToken` of a block under `platforms`.

use std::fmt::Write as _;
use std::ops::Range;

use super::json::{Json, Member, Node, last, quoted};
use super::{Format, Introduced, Unfit};
use crate::Secret;

/// The block of a platform in Homebridge's `config.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Homebridge {
    platform: String,
    name: Option<String>,
}

impl Homebridge {
    /// The block of that platform, and of that name where there are several.
    pub fn new(platform: impl Into<String>, name: Option<String>) -> Self {
        Self { platform: platform.into(), name }
    }
}

impl Default for Homebridge {
    /// The platform of homebridge-ring.
    fn default() -> Self {
        Self::new(PLATFORM, None)
    }
}

const PLATFORM: &str = "Ring";
const TOKEN: &str = "refreshToken";
/// What people typed in before there were tokens. With a token they do nothing but leak.
const REPLACED: [&str; 2] = ["email", "password"];
const BOM: &str = "\u{feff}";

impl Format for Homebridge {
    fn read(&self, bytes: &[u8]) -> Result<Option<Secret>, Unfit> {
        let (_, text) = decode(bytes)?;
        let config = Config::parse(text)?;
        shown_in(&self.block(&config)?.members)
    }

    fn write(&self, bytes: &[u8], token: &Secret) -> Result<Vec<u8>, Unfit> {
        let (bom, text) = decode(bytes)?;
        let config = Config::parse(text)?;
        let block = self.block(&config)?;
        if shown_in(&block.members)?.as_ref() == Some(token) {
            return Ok(bytes.to_vec());
        }
        let mut edits = Edits::default();
        put(&config, &block, token, &mut edits);
        let after = edits.apply(text);
        self.check(&config, Some(&block), &after, Some(token), &[])?;
        Ok(encode(bom, &after))
    }

    /// Begins no file. Homebridge does start on one without a `bridge`, but as a bridge with the identity and the code
    /// that each such one has, and its own tools make a file with others only where there is none yet: a missing file
    /// is a wrong path, or a Homebridge that never ran.
    fn introduce(&self, bytes: Option<&[u8]>, token: &Secret) -> Result<(Vec<u8>, Introduced), Unfit> {
        let (bom, text) = decode(bytes.unwrap_or_default())?;
        let config = Config::parse(text)?;
        let mut edits = Edits::default();
        let block = match self.block(&config) {
            Ok(block) => Some(block),
            Err(Unfit::NoBlock { .. }) => None,
            Err(unfit) => return Err(unfit),
        };
        let mut introduced = Introduced { added: block.is_none(), removed: Vec::new() };
        match &block {
            Some(block) => {
                if shown_in(&block.members)?.as_ref() != Some(token) {
                    put(&config, block, token, &mut edits);
                }
                introduced.removed = REPLACED.into_iter().filter(|key| last(&block.members, key).is_some()).collect();
                remove(&block.members, &introduced.removed, &mut edits);
            }
            None => self.add_block(&config, token, &mut edits),
        }
        let after = edits.apply(text);
        self.check(&config, block.as_ref(), &after, Some(token), &introduced.removed)?;
        Ok((encode(bom, &after), introduced))
    }

    fn clear(&self, bytes: &[u8]) -> Result<Vec<u8>, Unfit> {
        let (bom, text) = decode(bytes)?;
        let config = Config::parse(text)?;
        let block = self.block(&config)?;
        let mut edits = Edits::default();
        // Each of them: without the last one, the one before it would count.
        remove(&block.members, &[TOKEN], &mut edits);
        let after = edits.apply(text);
        self.check(&config, Some(&block), &after, None, &[])?;
        Ok(encode(bom, &after))
    }
}

/// The parts of a config that matter here.
struct Config<'a> {
    json: Json<'a>,
    root: Node<'a>,
    top: Vec<Member<'a>>,
    /// Where the blocks are; `None` also for what Homebridge takes for no value at all.
    platforms: Option<Node<'a>>,
    elements: Vec<Node<'a>>,
}

struct Block<'a> {
    node: Node<'a>,
    members: Vec<Member<'a>>,
}

impl<'a> Config<'a> {
    fn parse(text: &'a str) -> Result<Self, Unfit> {
        let (json, root) = Json::parse(text)?;
        let top = json.members(root).ok_or_else(|| {
            Unfit::Odd("It is valid JSON, but no object, so it is no config.json of Homebridge. Check the path.".into())
        })?;
        let platforms = last(&top, "platforms").map(|member| member.value);
        let elements = match platforms {
            None => Vec::new(),
            Some(node) if node.is_falsy() => Vec::new(),
            Some(node) => json.elements(node).ok_or_else(|| {
                Unfit::Odd("Its \"platforms\" is no array, so Homebridge uses nothing of it. Make it one.".into())
            })?,
        };
        Ok(Self { json, root, top, platforms, elements })
    }
}

impl Homebridge {
    fn block<'a>(&self, config: &Config<'a>) -> Result<Block<'a>, Unfit> {
        let blocks: Vec<Block<'a>> = config
            .elements
            .iter()
            .filter_map(|node| Some(Block { node: *node, members: config.json.members(*node)? }))
            .collect();
        let matches = |block: &Block<'a>, exactly: bool| {
            let Some(platform) = last(&block.members, "platform").and_then(|member| member.value.string()) else {
                return false;
            };
            let named = self.name.as_ref().is_none_or(|name| called(block, &platform) == name.as_bytes());
            named && if exactly { platform == self.platform.as_bytes() } else { self.is_qualified(&platform) }
        };
        let mut found: Vec<&Block<'a>> = blocks.iter().filter(|block| matches(block, true)).collect();
        if found.is_empty() {
            found = blocks.iter().filter(|block| matches(block, false)).collect();
        }
        match found.as_slice() {
            [] => Err(Unfit::NoBlock { platform: self.platform.clone(), name: self.name.clone() }),
            [block] => Ok(Block { node: block.node, members: block.members.clone() }),
            several => Err(Unfit::Several {
                platform: self.platform.clone(),
                names: several
                    .iter()
                    .map(|block| String::from_utf8_lossy(&called(block, self.platform.as_bytes())).into_owned())
                    .collect(),
            }),
        }
    }

    /// Homebridge also takes `homebridge-ring.Ring`: the plugin, a dot, the platform.
    fn is_qualified(&self, platform: &[u8]) -> bool {
        !self.platform.contains('.')
            && platform
                .strip_suffix(self.platform.as_bytes())
                .and_then(|plugin| plugin.strip_suffix(b"."))
                .is_some_and(|plugin| !plugin.is_empty() && !plugin.contains(&b'.'))
    }

    fn add_block(&self, config: &Config<'_>, token: &Secret, edits: &mut Edits) {
        let fields = [
            ("platform", self.platform.as_str()),
            ("name", self.name.as_deref().unwrap_or(&self.platform)),
            (TOKEN, token.expose()),
        ];
        let file = Style::of_file(config);
        let array = |indent: &str| {
            let inner = if file.newline.is_empty() { String::new() } else { format!("{indent}{}", file.unit) };
            let block = file.pieces(&inner).object(&fields);
            format!("[{}{inner}{block}{}{indent}]", file.newline, file.newline)
        };
        if let Some(last_element) = config.elements.last() {
            let before = match config.elements.len() {
                1 => config.platforms.map_or(0, |node| node.start() + 1),
                count => config.elements.get(count - 2).map_or(0, |node| node.end()),
            };
            let mut gap = gap(config.json.between(before, last_element.start())).to_owned();
            let sample = config.elements.iter().rev().find_map(|node| Pieces::of(config, *node));
            let pieces = sample.unwrap_or_else(|| file.pieces(gap.trim_start_matches(['\r', '\n'])));
            if gap.is_empty() && config.elements.len() == 1 && !pieces.between.is_empty() {
                " ".clone_into(&mut gap);
            }
            edits.insert(last_element.end(), format!(",{gap}{}", pieces.object(&fields)));
        } else if let Some(platforms) = config.platforms {
            edits.replace(platforms.range(), array(file.level));
        } else {
            let array = array(file.level);
            if config.top.is_empty() {
                let Style { newline, level, colon, .. } = file;
                let inside = config.root.start() + 1..config.root.end() - 1;
                edits.replace(inside, format!("{newline}{level}\"platforms\"{colon}{array}{newline}"));
            } else {
                append(config.json, config.root, &config.top, "platforms", &array, edits);
            }
        }
    }

    /// Reads the outcome as a stranger would: it shows the token, and everything else in it is what it was.
    fn check(
        &self,
        before: &Config<'_>,
        block: Option<&Block<'_>>,
        after: &str,
        token: Option<&Secret>,
        removed: &[&str],
    ) -> Result<(), Unfit> {
        let failed = || Unfit::Odd("Its shape is one that cannot be changed safely, so it is left alone.".into());
        let config = Config::parse(after).map_err(|_| failed())?;
        let new = self.block(&config).map_err(|_| failed())?;
        let touched: Vec<&str> = removed.iter().copied().chain([TOKEN]).collect();
        let same = shown_in(&new.members)?.as_ref() == token
            && removed.iter().all(|key| last(&new.members, key).is_none())
            && rest(&before.top, &["platforms"]) == rest(&config.top, &["platforms"])
            && others(before, block) == others(&config, Some(&new))
            && block.is_none_or(|block| rest(&block.members, &touched) == rest(&new.members, &touched));
        if same { Ok(()) } else { Err(failed()) }
    }
}

/// As Homebridge calls it: by its name, or else by its platform.
fn called(block: &Block<'_>, platform: &[u8]) -> Vec<u8> {
    last(&block.members, "name")
        .filter(|member| !member.value.is_falsy())
        .and_then(|member| member.value.string())
        .unwrap_or_else(|| platform.to_vec())
}

/// Anything but a string is nobody's token, and may be something that a person wants back: it is not overwritten.
fn shown_in(members: &[Member<'_>]) -> Result<Option<Secret>, Unfit> {
    let odd = || {
        Unfit::Odd("The \"refreshToken\" in its block is no text. Take it away, or make it the token in quotes.".into())
    };
    match last(members, TOKEN).map(|member| member.value) {
        None => Ok(None),
        Some(value) if value.is_null() => Ok(None),
        Some(value) => {
            let text = value.string().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(odd)?;
            Ok(Some(Secret::new(text)).filter(|token| !token.is_empty()))
        }
    }
}

/// Only the last one, where there are several: it is the one that every reader takes.
fn put(config: &Config<'_>, block: &Block<'_>, token: &Secret, edits: &mut Edits) {
    match last(&block.members, TOKEN) {
        Some(member) => edits.replace(member.value.range(), quoted(token.expose())),
        None => append(config.json, block.node, &block.members, TOKEN, &quoted(token.expose()), edits),
    }
}

/// Adds a member after the last one, set apart from it as that one is from what comes before it.
fn append(json: Json<'_>, object: Node<'_>, members: &[Member<'_>], key: &str, value: &str, edits: &mut Edits) {
    let Some(member) = members.last() else { return };
    let colon = colon(json, member);
    let before = members.len().checked_sub(2).and_then(|index| members.get(index));
    let mut gap = gap(json.between(before.map_or(object.start() + 1, |member| member.value.end()), member.key.start()));
    if gap.is_empty() && before.is_none() && colon.ends_with(' ') {
        gap = " ";
    }
    edits.insert(member.value.end(), format!(",{gap}{}{colon}{value}", quoted(key)));
}

/// Takes members away, each with the comma before it, or after it where it is the first.
fn remove(members: &[Member<'_>], keys: &[&str], edits: &mut Edits) {
    let goes = |member: &Member<'_>| keys.iter().any(|key| member.key.says(key));
    let mut kept_end: Option<usize> = None;
    let mut from: Option<usize> = None;
    for member in members {
        if goes(member) {
            from = from.or(Some(member.key.start()));
            if let Some(end) = kept_end {
                edits.replace(end..member.value.end(), String::new());
                kept_end = Some(member.value.end());
            }
        } else {
            if let (None, Some(start)) = (kept_end, from) {
                edits.replace(start..member.key.start(), String::new());
            }
            kept_end = Some(member.value.end());
        }
    }
}

fn rest<'a>(members: &[Member<'a>], without: &[&str]) -> Vec<(&'a str, &'a str)> {
    members
        .iter()
        .filter(|member| !without.iter().any(|key| member.key.says(key)))
        .map(|member| (member.key.raw(), member.value.raw()))
        .collect()
}

fn others<'a>(config: &Config<'a>, block: Option<&Block<'a>>) -> Vec<&'a str> {
    let block = block.map(|block| block.node);
    config.elements.iter().filter(|node| Some(**node) != block).map(|node| node.raw()).collect()
}

/// What stands between a comma or a bracket and what follows it; of several lines, the last.
fn gap(between: &str) -> &str {
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

/// How the file as a whole is set. On one line, `newline`, `unit` and `level` are empty.
struct Style<'a> {
    newline: &'a str,
    unit: &'a str,
    /// The indentation of the members of the outermost object.
    level: &'a str,
    colon: &'a str,
    padding: &'a str,
}

impl<'a> Style<'a> {
    fn of_file(config: &Config<'a>) -> Self {
        let json = config.json;
        if let Some(member) = config.top.first() {
            let gap = gap(json.between(config.root.start() + 1, member.key.start()));
            let level = gap.trim_start_matches(['\r', '\n']);
            let newline = &gap[..gap.len() - level.len()];
            let colon = colon(json, member);
            return match newline {
                "" => Self { newline, unit: "", level: "", colon, padding: gap },
                _ => Self { newline, unit: level, level, colon, padding: "" },
            };
        }
        // An empty object says little: one line stays one line, otherwise it is set as Homebridge's own tools do.
        let inside = config.root.raw();
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

    /// How an object is set whose closing brace is indented by this much.
    fn pieces(&self, indent: &str) -> Pieces {
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

/// What stands between the parts of an object.
struct Pieces {
    open: String,
    between: String,
    close: String,
    colon: String,
}

impl Pieces {
    /// As in this object; `None` where it has no members to learn from.
    fn of(config: &Config<'_>, node: Node<'_>) -> Option<Self> {
        let json = config.json;
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

    fn object(&self, fields: &[(&str, &str)]) -> String {
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

/// Changes of a text, each at its place in the text as it was.
#[derive(Default)]
struct Edits(Vec<(Range<usize>, String)>);

impl Edits {
    fn replace(&mut self, range: Range<usize>, with: String) {
        self.0.push((range, with));
    }

    fn insert(&mut self, at: usize, text: String) {
        self.replace(at..at, text);
    }

    fn apply(mut self, text: &str) -> String {
        self.0.sort_by_key(|(range, _)| (range.start, range.end));
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

fn decode(bytes: &[u8]) -> Result<(&'static str, &str), Unfit> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line_start = valid.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let line = valid.split(|byte| *byte == b'\n').count();
        Unfit::NotValid { line, column: valid.len() - line_start + 1 }
    })?;
    let (bom, text) = text.strip_prefix(BOM).map_or(("", text), |text| (BOM, text));
    if text.trim_ascii().is_empty() {
        return Err(Unfit::Nothing);
    }
    Ok((bom, text))
}

fn encode(bom: &str, text: &str) -> Vec<u8> {
    [bom.as_bytes(), text.as_bytes()].concat()
}
