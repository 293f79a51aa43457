//! Homebridge's `config.json`: the token is the `refreshToken` of a block under `platforms`.

use super::json::{Json, Member, Node, last, quoted};
use super::json_edit::{Edits, Pieces, Style, append, gap, remove};
use super::{Format, FormatError, Introduced, Places};
use crate::Secret;
use crate::looks::HOMEBRIDGE_KEYS;

/// The block of a platform in Homebridge's `config.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Homebridge {
    platform: String,
    name: Option<String>,
}

impl Homebridge {
    /// The name of this kind of mirror in a journal.
    pub const KIND: &'static str = "homebridge";
    /// The platform if none is named: that of homebridge-ring.
    pub const PLATFORM: &'static str = "Ring";

    /// The block of that platform, and of that name if there are several.
    pub fn new(platform: impl Into<String>, name: Option<String>) -> Self {
        Self { platform: platform.into(), name }
    }
}

impl Default for Homebridge {
    /// The platform of homebridge-ring.
    fn default() -> Self {
        Self::new(Self::PLATFORM, None)
    }
}

const TOKEN: &str = "refreshToken";
/// The keys with credentials that people used before there were tokens. With a token they have no effect, and can only leak.
const REPLACED: [&str; 2] = ["email", "password"];
const BOM: &str = "\u{feff}";

impl Format for Homebridge {
    fn read(&self, bytes: &[u8]) -> Result<Option<Secret>, FormatError> {
        let (_, text) = decode(bytes)?;
        let config = Config::parse(text)?;
        shown_in(&self.block(&config)?.members)
    }

    fn write(&self, bytes: &[u8], token: &Secret) -> Result<Vec<u8>, FormatError> {
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

    /// Creates no file. Homebridge starts with a file without a `bridge`, but then uses the identity and the code that each
    /// such installation has, and its own tools create a complete file only if there is none: a missing file means a wrong
    /// path, or a Homebridge that never ran.
    fn introduce(&self, bytes: Option<&[u8]>, token: &Secret) -> Result<(Vec<u8>, Introduced), FormatError> {
        let (bom, text) = decode(bytes.unwrap_or_default())?;
        let config = Config::parse(text)?;
        let mut edits = Edits::default();
        let block = match self.block(&config) {
            Ok(block) => Some(block),
            Err(FormatError::NoBlock { .. }) if config.is_homebridges() => None,
            Err(FormatError::NoBlock { .. }) => {
                return Err(FormatError::Odd("It is JSON, but not Homebridge's config.json. Check the path.".into()));
            }
            Err(error) => return Err(error),
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

    fn clear(&self, bytes: &[u8]) -> Result<Vec<u8>, FormatError> {
        let (bom, text) = decode(bytes)?;
        let config = Config::parse(text)?;
        let block = self.block(&config)?;
        let mut edits = Edits::default();
        // All members with this key: if only the last one were removed, the one before it would count.
        remove(&block.members, &[TOKEN], &mut edits);
        let after = edits.apply(text);
        self.check(&config, Some(&block), &after, None, &[])?;
        Ok(encode(bom, &after))
    }

    /// A block is identified as Homebridge does it: by its platform and its name.
    fn places(&self, bytes: &[u8]) -> Places {
        let Ok(config) = decode(bytes).and_then(|(_, text)| Config::parse(text)) else { return Places::default() };
        let own = self.block(&config).ok();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let place = |platform: &str, block: &Block<'_>| {
            vec![Self::KIND.to_owned(), platform.to_owned(), text(&called(block, platform.as_bytes()))]
        };
        let others = config.elements.iter().filter(|node| own.as_ref().is_none_or(|own| own.node != **node));
        let other = |node: &Node<'_>| {
            let block = Block { node: *node, members: config.json.members(*node)? };
            let platform = text(&last(&block.members, "platform")?.value.string()?);
            Some((place(&platform, &block), shown_in(&block.members).ok().flatten()))
        };
        Places { own: own.as_ref().map(|own| place(&self.platform, own)), others: others.filter_map(other).collect() }
    }
}

/// The parts of a config that matter here.
struct Config<'a> {
    json: Json<'a>,
    root: Node<'a>,
    top: Vec<Member<'a>>,
    /// The array of the blocks; `None` also for a value that Homebridge takes for none.
    platforms: Option<Node<'a>>,
    elements: Vec<Node<'a>>,
}

struct Block<'a> {
    node: Node<'a>,
    members: Vec<Member<'a>>,
}

impl<'a> Config<'a> {
    fn parse(text: &'a str) -> Result<Self, FormatError> {
        let (json, root) = Json::parse(text)?;
        let top = json.members(root).ok_or_else(|| {
            FormatError::Odd(
                "It is valid JSON, but not an object, so it is not Homebridge's config.json. Check the path.".into(),
            )
        })?;
        let platforms = last(&top, "platforms").map(|member| member.value);
        let elements = match platforms {
            None => Vec::new(),
            Some(node) if node.is_falsy() => Vec::new(),
            Some(node) => json.elements(node).ok_or_else(|| {
                FormatError::Odd("Its \"platforms\" is no array, so Homebridge uses nothing of it. Make it one.".into())
            })?,
        };
        Ok(Self { json, root, top, platforms, elements })
    }

    /// Whether a block may be added to it: it has a key by which Homebridge's configuration is recognised, or no key at all.
    fn is_homebridges(&self) -> bool {
        self.top.is_empty() || HOMEBRIDGE_KEYS.iter().any(|key| last(&self.top, key).is_some())
    }
}

impl Homebridge {
    fn block<'a>(&self, config: &Config<'a>) -> Result<Block<'a>, FormatError> {
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
            [] => Err(FormatError::NoBlock { platform: self.platform.clone(), name: self.name.clone() }),
            [block] => Ok(Block { node: block.node, members: block.members.clone() }),
            several => Err(FormatError::Several {
                platform: self.platform.clone(),
                names: several
                    .iter()
                    .map(|block| String::from_utf8_lossy(&called(block, self.platform.as_bytes())).into_owned())
                    .collect(),
            }),
        }
    }

    /// Homebridge also accepts `homebridge-ring.Ring`: the plugin, a dot, the platform.
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
        let file = Style::of_file(config.json, config.root, &config.top);
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
            let sample = config.elements.iter().rev().find_map(|node| Pieces::of(config.json, *node));
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

    /// Checks the result with a reader: it shows the token, and everything else is as before.
    fn check(
        &self,
        before: &Config<'_>,
        block: Option<&Block<'_>>,
        after: &str,
        token: Option<&Secret>,
        removed: &[&str],
    ) -> Result<(), FormatError> {
        let failed = || FormatError::Odd("It cannot be changed safely, so ring-auth does not change it.".into());
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

/// The name of a block as Homebridge shows it: its name, or else its platform.
fn called(block: &Block<'_>, platform: &[u8]) -> Vec<u8> {
    last(&block.members, "name")
        .filter(|member| !member.value.is_falsy())
        .and_then(|member| member.value.string())
        .unwrap_or_else(|| platform.to_vec())
}

/// Anything but a string is not a token, and may be a value that a person needs: it is not overwritten.
fn shown_in(members: &[Member<'_>]) -> Result<Option<Secret>, FormatError> {
    let odd = || {
        FormatError::Odd(
            "The \"refreshToken\" in its block is not a string. Remove it, or write the token there, in quotes.".into(),
        )
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

/// Only the last member with a key counts, as for every reader.
fn put(config: &Config<'_>, block: &Block<'_>, token: &Secret, edits: &mut Edits) {
    match last(&block.members, TOKEN) {
        Some(member) => edits.replace(member.value.range(), quoted(token.expose())),
        None => append(config.json, block.node, &block.members, TOKEN, &quoted(token.expose()), edits),
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

fn decode(bytes: &[u8]) -> Result<(&'static str, &str), FormatError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line_start = valid.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let line = valid.split(|byte| *byte == b'\n').count();
        FormatError::NotValid { line, column: valid.len() - line_start + 1 }
    })?;
    let (bom, text) = text.strip_prefix(BOM).map_or(("", text), |text| (BOM, text));
    if text.trim_ascii().is_empty() {
        return Err(FormatError::Nothing);
    }
    Ok((bom, text))
}

fn encode(bom: &str, text: &str) -> Vec<u8> {
    [bom.as_bytes(), text.as_bytes()].concat()
}
