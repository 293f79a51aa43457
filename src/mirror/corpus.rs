//! Hundreds of unusual texts, the same ones in each run. `MIRROR_CORPUS=folder cargo test mirror` writes each text
//! before and after its change to that folder, so that another reader can be compared.

use std::fmt::Write as _;
use std::path::PathBuf;

/// The wrapper that the tests write into every case.
pub const TOKEN: &str = "eyJydCI6ImV5SmhiR2NpT2lKSVV6VXhNaUo5Lm5ldy5fLXRva2VuIiwiaGlkIjoiMDAwMC8rIn0=";
/// The wrapper in a case before the test, if there is one.
pub const FORMER: &str = "eyJydCI6ImZvcm1lciJ9";
/// `FORMER` as a JSON string, as in a `config.json`.
pub const QUOTED_FORMER: &str = "\"eyJydCI6ImZvcm1lciJ9\"";

/// A text that is cut at the place of its token, or at the place for one.
#[derive(Debug, Clone)]
pub struct Case {
    pub before: Vec<u8>,
    /// The text at that place, with its quotes. `None` if there is no place for a token yet.
    pub place: Option<&'static str>,
    pub behind: Vec<u8>,
    /// The name of the block, if a reader needs it.
    pub name: Option<&'static str>,
}

impl Case {
    /// The whole text, unchanged.
    pub fn text(&self) -> Vec<u8> {
        self.with(self.place.unwrap_or_default())
    }

    /// The whole text with another value at the place of the token.
    pub fn with(&self, value: &str) -> Vec<u8> {
        [&self.before, value.as_bytes(), &self.behind].concat()
    }
}

/// Writes a case into the folder `MIRROR_CORPUS` for other readers, if that variable is set.
pub fn leave(kind: &str, index: usize, before: &[u8], after: &[u8]) {
    let Some(folder) = std::env::var_os("MIRROR_CORPUS").map(PathBuf::from) else { return };
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{index:04}.{kind}")), before).unwrap();
    std::fs::write(folder.join(format!("{index:04}.{kind}.after")), after).unwrap();
    std::fs::write(folder.join("token"), TOKEN).unwrap();
}

/// Texts of `config.json`, each with one block of the platform `Ring` that a reader has to find.
pub fn configs(count: usize) -> Vec<Case> {
    let mut chance = Chance(0x0dd_c0ff1);
    (0..count).map(|_| config(&mut chance)).collect()
}

/// Texts of `.env`, for the key `RING_REFRESH_TOKEN`.
pub fn env_files(count: usize) -> Vec<Case> {
    let mut chance = Chance(0x0dd_e4f);
    (0..count).map(|_| env_file(&mut chance)).collect()
}

/// Random number generator (`SplitMix`) that gives the same numbers on every system.
pub struct Chance(pub u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % count as u64).unwrap()
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        for index in (1..list.len()).rev() {
            let other = self.below(index + 1);
            list.swap(index, other);
        }
    }
}

/// A JSON value whose scalars keep their spelling.
#[derive(Clone)]
enum Tree {
    Scalar(&'static str),
    Array(Vec<Tree>),
    Object(Vec<(&'static str, Tree)>),
    /// The place of the token.
    Place,
}

/// Character for the place of the token, which no text contains otherwise.
const PLACE: char = '\u{1}';

const SCALARS: [&str; 23] = [
    "1E400",
    "-0.0",
    "1.10",
    "1e-7",
    "123456789012345678901234567890",
    "0",
    "-0",
    "true",
    "false",
    "null",
    "{}",
    "[]",
    "{ }",
    "[\n]",
    r#""""#,
    r#""\ud83d""#,
    r#""\ud83d\ude00""#,
    "\"😀 Tür\u{2028}\u{a0}\"",
    r#""a\/b \"refreshToken\": \"x\" \\""#,
    r#""\u0000\b\f\n\r\t""#,
    r#""{\"platforms\":[{\"platform\":\"Ring\"}]}""#,
    r#"{"platform":"Ring","refreshToken":"decoy"}"#,
    r#"[[[[[["refreshToken"]]]]]]"#,
];

fn config(chance: &mut Chance) -> Case {
    let held = Some(QUOTED_FORMER);
    let place = chance.pick(&[held, held, held, None, None, Some("null"), Some("\"\"")]);
    let several = chance.one_in(3);
    let name = if several { Some("Front \\ \"Tür\"") } else { None };
    let mut platforms = Vec::new();
    for _ in 0..chance.below(4) {
        let other = match chance.below(5) {
            0 => Tree::Scalar(chance.pick(&["null", "5", "\"Ring\"", "[]", "{}", "false"])),
            1 => {
                Tree::Object(vec![("\"platform\"", Tree::Scalar("5")), ("\"refreshToken\"", Tree::Scalar("\"decoy\""))])
            }
            _ => Tree::Object(members(chance, "\"config\"", Some(Tree::Scalar("\"decoy\"")), None)),
        };
        platforms.push(other);
    }
    if several {
        let other = members(chance, "\"Ring\"", Some(Tree::Scalar("\"decoy\"")), Some("\"Back\""));
        platforms.push(Tree::Object(other));
    }
    let platform = chance.pick(&["\"Ring\"", "\"Ring\"", r#""R\u0069ng""#, "\"homebridge-ring.Ring\""]);
    // Beside another block for the same, only its full name is as good as that one.
    let platform = if several && platform.contains('.') { "\"Ring\"" } else { platform };
    let written =
        if several { Some(chance.pick(&[r#""Front \\ \"Tür\"""#, r#""Front \u005c \"T\u00fcr\"""#])) } else { None };
    let ours = members(chance, platform, place.map(|_| Tree::Place), written);
    platforms.push(Tree::Object(ours));
    chance.shuffle(&mut platforms);

    let mut top = vec![
        (
            "\"bridge\"",
            Tree::Object(vec![("\"name\"", Tree::Scalar("\"Homebridge\"")), ("\"port\"", Tree::Scalar("51826"))]),
        ),
        ("\"accessories\"", Tree::Array(vec![])),
    ];
    for _ in 0..chance.below(4) {
        let key =
            chance.pick(&["\"x\"", "\"x\"", r#""\u0078""#, "\"\"", "\"refreshToken\"", r#""\ud83d""#, "\"mdns\""]);
        top.push((key, Tree::Scalar(chance.pick(&SCALARS))));
    }
    chance.shuffle(&mut top);
    if chance.one_in(6) {
        let decoy = vec![("\"platform\"", Tree::Scalar("\"Ring\"")), ("\"refreshToken\"", Tree::Scalar("\"decoy\""))];
        top.insert(0, ("\"platforms\"", Tree::Array(vec![Tree::Object(decoy)])));
    }
    let at = 1 + chance.below(top.len());
    top.insert(at, (chance.pick(&["\"platforms\"", "\"platforms\"", r#""platf\u006frms""#]), Tree::Array(platforms)));

    let set = Set::by(chance);
    let mut text = String::from(chance.pick(&["", "", "", "\u{feff}", "\n", "\u{feff} \r\n\t"]));
    set.write(&Tree::Object(top), 0, &mut text, chance);
    text.push_str(chance.pick(&["", "\n", "\r\n", "\n\n", "  \t\r"]));
    let (before, behind) = text.split_once(PLACE).unwrap_or((&text, ""));
    Case { before: before.into(), place, behind: behind.into(), name }
}

/// The members of a block, in a random order.
fn members(
    chance: &mut Chance,
    platform: &'static str,
    token: Option<Tree>,
    name: Option<&'static str>,
) -> Vec<(&'static str, Tree)> {
    let mut members =
        vec![(chance.pick(&["\"platform\"", "\"platform\"", r#""\u0070latform""#]), Tree::Scalar(platform))];
    if let Some(name) = name {
        members.push(("\"name\"", Tree::Scalar(name)));
    }
    if chance.one_in(3) {
        members.push(("\"email\"", Tree::Scalar("\"a@example.com\"")));
        members.push(("\"password\"", Tree::Scalar(chance.pick(&["\"hunter2\"", "\"p\\\"\"", "null"]))));
    }
    if chance.one_in(3) {
        let bridge = vec![("\"username\"", Tree::Scalar("\"0E:AA:BB:CC:DD:EE\"")), ("\"port\"", Tree::Scalar("1.10"))];
        members.push(("\"_bridge\"", Tree::Object(bridge)));
    }
    for _ in 0..chance.below(3) {
        let key = chance.pick(&["\"ffmpegPath\"", "\"x\"", "\"x\"", "\"token\"", "\"refreshtoken\""]);
        members.push((key, Tree::Scalar(chance.pick(&SCALARS))));
    }
    chance.shuffle(&mut members);
    if let Some(token) = token {
        let at = chance.below(members.len() + 1);
        if chance.one_in(8) {
            members.insert(0, ("\"refreshToken\"", Tree::Scalar("\"earlier\"")));
            members.push((r#""refresh\u0054oken""#, token));
        } else {
            members.insert(at, ("\"refreshToken\"", token));
        }
    }
    members
}

/// The layout of a text.
struct Set {
    newline: &'static str,
    unit: &'static str,
    colon: &'static str,
    padding: &'static str,
    comma: &'static str,
    is_ragged: bool,
}

impl Set {
    fn by(chance: &mut Chance) -> Self {
        let is_flat = chance.one_in(4);
        Self {
            newline: if is_flat { "" } else { chance.pick(&["\n", "\n", "\r\n", "\r"]) },
            unit: if is_flat { "" } else { chance.pick(&["  ", "    ", "\t", " ", "", "   \t"]) },
            colon: chance.pick(&[": ", ": ", ":", " : ", "\t:  "]),
            padding: chance.pick(&["", "", " "]),
            comma: chance.pick(&[",", ",", ",", " ,"]),
            is_ragged: chance.one_in(5),
        }
    }

    fn write(&self, tree: &Tree, depth: usize, text: &mut String, chance: &mut Chance) {
        let (open, close, count) = match tree {
            Tree::Scalar(raw) => return text.push_str(raw),
            Tree::Place => return text.push(PLACE),
            Tree::Array(elements) => ('[', ']', elements.len()),
            Tree::Object(members) => ('{', '}', members.len()),
        };
        text.push(open);
        for index in 0..count {
            if index > 0 {
                text.push_str(self.comma);
            }
            self.gap(depth + 1, text, chance);
            match tree {
                Tree::Array(elements) => self.write(&elements[index], depth + 1, text, chance),
                Tree::Object(members) => {
                    let (key, value) = &members[index];
                    text.push_str(key);
                    text.push_str(self.colon);
                    self.write(value, depth + 1, text, chance);
                }
                _ => {}
            }
        }
        if count > 0 {
            self.gap(depth, text, chance);
        }
        text.push(close);
    }

    fn gap(&self, depth: usize, text: &mut String, chance: &mut Chance) {
        if self.newline.is_empty() {
            text.push_str(self.padding);
        } else if self.is_ragged && chance.one_in(3) {
            text.push_str(chance.pick(&["", " ", "\t\t", "\n\n     ", "\r\n"]));
        } else {
            text.push_str(self.newline);
            text.push_str(&self.unit.repeat(depth));
        }
    }
}

fn env_file(chance: &mut Chance) -> Case {
    let newline = chance.pick(&["\n", "\n", "\r\n", "\r"]);
    let place = chance.pick(&[Some(FORMER), Some(FORMER), Some(FORMER), Some("raw.token-of_old"), Some(""), None]);
    let mut bytes: Vec<u8> = chance.pick(&["", "", "", "\u{feff}", "\n \n"]).into();
    let fill = |chance: &mut Chance, bytes: &mut Vec<u8>| {
        for _ in 0..chance.below(6) {
            if chance.one_in(12) {
                bytes.extend(b"LATIN=caf\xe9 \xff # \xc3");
            } else {
                bytes.extend(chance.pick(&FILLERS).replace('\n', newline).as_bytes());
            }
            bytes.extend(newline.as_bytes());
        }
    };
    fill(chance, &mut bytes);
    if place.is_some() && chance.one_in(4) {
        let earlier = chance.pick(&["=earlier", "='earlier' # old", "= \"earlier\"", "="]);
        bytes.extend(format!("RING_REFRESH_TOKEN{earlier}{newline}").bytes());
        fill(chance, &mut bytes);
    }
    if place.is_none() {
        let cut = bytes.len() - if bytes.ends_with(newline.as_bytes()) { chance.below(2) * newline.len() } else { 0 };
        bytes.truncate(cut);
        return Case { before: bytes, place, behind: Vec::new(), name: None };
    }
    let mut line = String::from(chance.pick(&["", "", "", "export ", "  ", "\t", "export \t", "  export  "]));
    line.push_str("RING_REFRESH_TOKEN");
    line.push_str(chance.pick(&["=", "=", "=", " = ", "= ", ": ", " =", "=\t"]));
    let quote = chance.pick(&["", "", "'", "\"", "`"]);
    if quote.is_empty() && place == Some("") {
        // An empty value without quotes begins directly behind the sign.
        line.truncate(line.trim_end().len());
        if line.ends_with(':') {
            line.push(' ');
        }
    }
    let _ = write!(line, "{quote}{PLACE}{quote}");
    line.push_str(chance.pick(&["", "", " ", " # a comment", "   # RING_REFRESH_TOKEN=decoy 'it's", "\t#"]));
    let (before, behind) = line.split_once(PLACE).unwrap();
    let before = [bytes, before.into()].concat();
    let mut behind: Vec<u8> = behind.into();
    if chance.one_in(4) {
        return Case { before, place, behind, name: None };
    }
    behind.extend(newline.as_bytes());
    fill(chance, &mut behind);
    Case { before, place, behind, name: None }
}

const FILLERS: [&str; 22] = [
    "",
    "   \t",
    "# a comment",
    "#RING_REFRESH_TOKEN=decoy",
    "  # export RING_REFRESH_TOKEN='decoy'",
    "PORT=3000",
    "export PATH = /usr/bin:/bin # where",
    "MULTI=\"one\nRING_REFRESH_TOKEN=decoy\ntwo\"",
    "MULTI='one\nexport RING_REFRESH_TOKEN=\"decoy\"\n'  # end",
    "MULTI=`\nRING_REFRESH_TOKEN: decoy\n`",
    "RING_REFRESH_TOKEN_OLD=decoy",
    "MY.RING_REFRESH_TOKEN=decoy",
    "ring_refresh_token=decoy",
    "KEY=$RING_REFRESH_TOKEN",
    "QUOTED='it\\'s'",
    "QUOTED=\"a \\\"b\\\" \\n c\"",
    "INNER=a'b\"c`d",
    "YAML: value",
    "EMPTY=",
    "UNICODE=Tür😀\u{a0} ",
    "JSON={\"RING_REFRESH_TOKEN\":\"decoy\"}",
    "just some words",
];
