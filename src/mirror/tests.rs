use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::Value;

use super::corpus::{self, Case, FORMER, QUOTED_FORMER, TOKEN};
use super::*;
use crate::Secret;

const CASES: usize = 1000;

fn token() -> Secret {
    Secret::new(TOKEN)
}

fn ring() -> Homebridge {
    Homebridge::default()
}

fn named(name: &str) -> Homebridge {
    Homebridge::new("Ring", Some(name.to_owned()))
}

fn text(bytes: Result<Vec<u8>, FormatError>) -> String {
    String::from_utf8(bytes.unwrap()).unwrap()
}

fn introduced(config: &str) -> String {
    let (bytes, _) = ring().introduce(Some(config.as_bytes()), &Secret::new("t")).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn env() -> Dotenv {
    Dotenv::default()
}

mod homebridge {
    use super::*;

    fn format(case: &Case) -> Homebridge {
        Homebridge::new("Ring", case.name.map(str::to_owned))
    }

    /// The value that a program reads from the bytes. A lone surrogate, which `Value` cannot hold, becomes a question
    /// mark.
    fn meaning(bytes: &[u8]) -> Value {
        let text = std::str::from_utf8(bytes).unwrap().trim_start_matches('\u{feff}');
        let text = text.replace(r"\ud83d\ude00", "smile").replace(r"\ud83d", "?");
        serde_json::from_str(&text).unwrap()
    }

    /// Finds the block of a case without the code under test.
    fn block<'v>(value: &'v mut Value, case: &Case) -> &'v mut serde_json::Map<String, Value> {
        value["platforms"]
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .filter_map(Value::as_object_mut)
            .find(|block| {
                let is_ours = block.get("platform").and_then(Value::as_str).is_some_and(|it| it.ends_with("Ring"));
                is_ours && case.name.is_none_or(|name| block.get("name").and_then(Value::as_str) == Some(name))
            })
            .unwrap()
    }

    #[test]
    fn a_corpus_of_odd_configs_round_trips() {
        for (index, case) in corpus::configs(CASES).iter().enumerate() {
            let (format, before) = (format(case), case.text());
            let why = || format!("case {index}: {}", String::from_utf8_lossy(&before));
            let shown = format.read(&before).unwrap_or_else(|error| panic!("{error}: {}", why()));
            assert_eq!(shown, (case.place == Some(QUOTED_FORMER)).then(|| Secret::new(FORMER)), "{}", why());
            let after = format.write(&before, &token()).unwrap_or_else(|error| panic!("{error}: {}", why()));
            assert_eq!(format.read(&after), Ok(Some(token())), "{}", why());
            corpus::leave("json", index, &before, &after);

            if case.place.is_some() {
                assert_eq!(after, case.with(&format!("\"{TOKEN}\"")), "{}", why());
                let again = format.write(&after, &Secret::new(FORMER)).unwrap();
                assert_eq!(again, case.with(QUOTED_FORMER), "{}", why());
            } else {
                // `write` inserted one piece, and `clear` removes it without a trace.
                assert_eq!(format.clear(&after).unwrap(), before, "{}", why());
            }
            let mut expected = meaning(&before);
            block(&mut expected, case).insert("refreshToken".into(), TOKEN.into());
            assert_eq!(meaning(&after), expected, "{}", why());

            let cleared = format.clear(&after).unwrap();
            block(&mut expected, case).shift_remove("refreshToken");
            assert_eq!(meaning(&cleared), expected, "{}", why());
            assert_eq!(format.read(&cleared), Ok(None));
        }
    }

    #[test]
    fn a_login_takes_email_and_password_away_and_keeps_the_rest() {
        let mut taken = 0;
        for (index, case) in corpus::configs(CASES).iter().enumerate() {
            let before = case.text();
            let why = || format!("case {index}: {}", String::from_utf8_lossy(&before));
            let (after, introduced) = format(case).introduce(Some(&before), &token()).unwrap();
            let mut expected = meaning(&before);
            let block = block(&mut expected, case);
            let had = block.shift_remove("email").is_some();
            assert_eq!(block.shift_remove("password").is_some(), had);
            block.insert("refreshToken".into(), TOKEN.into());
            assert_eq!(meaning(&after), expected, "{}", why());
            assert_eq!(introduced.removed, if had { vec!["email", "password"] } else { vec![] }, "{}", why());
            assert!(!introduced.added);
            taken += usize::from(had);
        }
        assert!(taken > CASES / 5, "{taken}");
    }

    #[test]
    fn a_login_adds_a_block_to_any_config_without_one() {
        let format = Homebridge::new("Chime", None);
        for (index, case) in corpus::configs(CASES).iter().enumerate() {
            let before = case.text();
            assert_eq!(
                format.write(&before, &token()),
                Err(FormatError::NoBlock { platform: "Chime".into(), name: None }),
                "case {index}"
            );
            let (after, introduced) = format.introduce(Some(&before), &token()).unwrap();
            let mut expected = meaning(&before);
            let block = serde_json::json!({ "platform": "Chime", "name": "Chime", "refreshToken": TOKEN });
            expected["platforms"].as_array_mut().unwrap().push(block);
            assert_eq!(meaning(&after), expected, "case {index}: {}", String::from_utf8_lossy(&before));
            assert_eq!(introduced, Introduced { added: true, removed: vec![] });
        }
    }

    #[test]
    fn what_homebridge_refuses_is_refused() {
        let block = r#""platforms": [{"platform": "Ring"}]"#;
        for odd in [
            format!("{{{block},}}"),
            format!("{{{block}}} // done"),
            format!("/* mine */ {{{block}}}"),
            format!("{{{block}}} {{}}"),
            format!("{{{block} \"x\": 1}}"),
            format!("{{{block}, 'x': 1}}"),
            format!("{{{block}, x: 1}}"),
            format!("{{{block}, \"x\": 0x10}}"),
            format!("{{{block}, \"x\": +1}}"),
            format!("{{{block}, \"x\": .5}}"),
            format!("{{{block}, \"x\": 01}}"),
            format!("{{{block}, \"x\": NaN}}"),
            format!("{{{block}, \"x\": \"a\nb\"}}"),
            format!("{{{block}, \"x\": \"\\x41\"}}"),
            format!("{{{block}, \"x\": [1, ]}}"),
            format!("{{\u{b}{block}}}"),
            format!("{{\u{a0}{block}}}"),
            format!("\u{feff}\u{feff}{{{block}}}"),
            format!("{{{block}"),
        ] {
            for outcome in [
                ring().write(odd.as_bytes(), &token()),
                ring().introduce(Some(odd.as_bytes()), &token()).map(|(bytes, _)| bytes),
                ring().clear(odd.as_bytes()),
            ] {
                assert!(matches!(outcome, Err(FormatError::NotValid { .. })), "{odd}: {outcome:?}");
            }
        }
    }

    #[test]
    fn a_place_that_is_not_valid_is_named() {
        let outcome = ring().read(b"{\n  \"a\": 1,\n  \"b\": oops\n}");
        assert_eq!(outcome, Err(FormatError::NotValid { line: 3, column: 8 }));
        assert_eq!(ring().read(b"{\n \"a\": \"\xff\"}"), Err(FormatError::NotValid { line: 2, column: 8 }));
    }

    #[test]
    fn no_depth_overflows_the_stack() {
        let deep = 100_000;
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":", "}]")] {
            let nested = format!("{}1{}", open.repeat(deep), close.repeat(deep));
            let config = format!(r#"{{"x": {nested}, "platforms": [{{"platform": "Ring", "x": {nested}}}]}}"#);
            let after = ring().write(config.as_bytes(), &token()).unwrap();
            assert_eq!(ring().read(&after), Ok(Some(token())));
            assert!(matches!(ring().read(open.repeat(deep).as_bytes()), Err(FormatError::NotValid { .. })));
        }
    }

    #[test]
    fn of_duplicate_keys_the_last_one_counts() {
        let config = r#"{"platforms": [{"platform": "Ring", "refreshToken": "w"}], "platforms": [
            {"platform": "X", "platform": "Ring", "refreshToken": "a", "refreshToken": "b"}]}"#;
        assert_eq!(ring().read(config.as_bytes()), Ok(Some(Secret::new("b"))));
        assert_eq!(text(ring().write(config.as_bytes(), &Secret::new("c"))), config.replace("\"b\"", "\"c\""));
        let without = config.replace(r#", "refreshToken": "a", "refreshToken": "b""#, "");
        assert_eq!(text(ring().clear(config.as_bytes())), without);
    }

    #[test]
    fn the_same_token_again_changes_no_byte() {
        let config = r#"{"platforms": [{"platform": "Ring", "refreshToken": "a\/\u0062"}]}"#;
        assert_eq!(text(ring().write(config.as_bytes(), &Secret::new("a/b"))), config);
    }

    #[test]
    fn several_blocks_need_a_name() {
        let config = r#"{"platforms": [null, 7, {"platform": "Ring", "name": "A", "refreshToken": "a"},
            {"platform": "Ring", "_bridge": {"port": 1}, "refreshToken": "b"}]}"#;
        let several = FormatError::Several { platform: "Ring".into(), names: vec!["A".into(), "Ring".into()] };
        assert_eq!(ring().read(config.as_bytes()), Err(several.clone()));
        assert_eq!(ring().introduce(Some(config.as_bytes()), &token()), Err(several));
        assert_eq!(named("A").read(config.as_bytes()), Ok(Some(Secret::new("a"))));
        // A block without a name is found by its platform.
        assert_eq!(named("Ring").read(config.as_bytes()), Ok(Some(Secret::new("b"))));
        let nameless = config.replace("\"_bridge\"", "\"name\": \"\", \"_bridge\"");
        assert_eq!(named("Ring").read(nameless.as_bytes()), Ok(Some(Secret::new("b"))));
        assert!(matches!(named("B").read(config.as_bytes()), Err(FormatError::NoBlock { name: Some(_), .. })));
        let twins = r#"{"platforms": [{"platform": "Ring", "name": "A"}, {"platform": "Ring", "name": "A"}]}"#;
        assert!(matches!(named("A").read(twins.as_bytes()), Err(FormatError::Several { .. })));
    }

    #[test]
    fn a_platform_may_be_named_with_its_plugin() {
        let config = r#"{"platforms": [{"platform": "homebridge-ring.Ring", "refreshToken": "a"}]}"#;
        assert_eq!(ring().read(config.as_bytes()), Ok(Some(Secret::new("a"))));
        let both = config.replace("[{", r#"[{"platform": "Ring", "refreshToken": "b"}, {"#);
        assert_eq!(ring().read(both.as_bytes()), Ok(Some(Secret::new("b"))));
        let full = Homebridge::new("homebridge-ring.Ring", None);
        assert_eq!(full.read(both.as_bytes()), Ok(Some(Secret::new("a"))));
        let other = config.replace("homebridge-ring.Ring", "SpringRing");
        assert!(matches!(ring().read(other.as_bytes()), Err(FormatError::NoBlock { .. })));
    }

    #[test]
    fn a_token_that_is_not_a_string_is_not_changed() {
        for odd in ["5", "0", "true", "false", "{\"secret\": \"canary\"}", "[\"canary\"]", r#""\ud83d""#] {
            let config = format!(r#"{{"platforms": [{{"platform": "Ring", "refreshToken": {odd}}}]}}"#);
            let Err(error @ FormatError::Odd(_)) = ring().read(config.as_bytes()) else { panic!("{odd}") };
            assert!(!error.to_string().contains("canary"));
            assert_eq!(ring().write(config.as_bytes(), &token()), Err(error.clone()));
            assert_eq!(ring().introduce(Some(config.as_bytes()), &token()), Err(error));
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_not_begun() {
        for nothing in [None, Some(&b""[..]), Some(b" \r\n\t"), Some(b"\xef\xbb\xbf")] {
            assert_eq!(ring().introduce(nothing, &token()), Err(FormatError::Nothing));
        }
        for other in ["[]", "null", "5", "\"x\"", r#"{"platforms": {}}"#, r#"{"platforms": "Ring"}"#] {
            assert!(matches!(ring().introduce(Some(other.as_bytes()), &token()), Err(FormatError::Odd(_))), "{other}");
        }
    }

    #[test]
    fn a_new_token_is_set_as_its_block_is() {
        for (before, after) in [
            (r#"{"platforms":[{"platform":"Ring"}]}"#, r#"{"platforms":[{"platform":"Ring","refreshToken":"t"}]}"#),
            (
                r#"{ "platforms": [ { "platform": "Ring" } ] }"#,
                r#"{ "platforms": [ { "platform": "Ring", "refreshToken": "t" } ] }"#,
            ),
            (
                r#"{"platforms": [{"platform": "Ring"}]}"#,
                r#"{"platforms": [{"platform": "Ring", "refreshToken": "t"}]}"#,
            ),
            (
                "{\r\n\t\"platforms\" : [\r\n\t\t{\r\n\t\t\t\"platform\" : \"Ring\"\r\n\t\t}\r\n\t]\r\n}",
                "{\r\n\t\"platforms\" : [\r\n\t\t{\r\n\t\t\t\"platform\" : \"Ring\",\r\n\t\t\t\"refreshToken\" : \"t\"\r\n\t\t}\r\n\t]\r\n}",
            ),
            (
                "{\"platforms\": [{\n\n  \"platform\": \"Ring\",\n\n  \"a\":\n 1}]}",
                "{\"platforms\": [{\n\n  \"platform\": \"Ring\",\n\n  \"a\":\n 1,\n  \"refreshToken\": \"t\"}]}",
            ),
        ] {
            assert_eq!(introduced(before), after);
            assert_eq!(text(ring().write(before.as_bytes(), &Secret::new("t"))), after);
        }
    }

    #[test]
    fn a_new_block_is_set_as_its_file_is() {
        let block = r#"{"platform":"Ring","name":"Ring","refreshToken":"t"}"#;
        assert_eq!(introduced("{}"), format!("{{\"platforms\":[{block}]}}"));
        assert_eq!(introduced(r#"{"platforms":[]}"#), format!("{{\"platforms\":[{block}]}}"));
        assert_eq!(introduced(r#"{"platforms":null}"#), format!("{{\"platforms\":[{block}]}}"));
        assert_eq!(introduced(r#"{"bridge":1}"#), format!("{{\"bridge\":1,\"platforms\":[{block}]}}"));
        assert_eq!(introduced(r#"{"platforms":[null]}"#), format!("{{\"platforms\":[null,{block}]}}"));
        assert_eq!(
            introduced(r#"{"platforms": [{"platform": "config"}]}"#),
            r#"{"platforms": [{"platform": "config"}, {"platform": "Ring", "name": "Ring", "refreshToken": "t"}]}"#
        );
        let lines = "{\n  \"platforms\": [\n    {\n      \"platform\": \"Ring\",\n      \"name\": \"Ring\",\n      \"refreshToken\": \"t\"\n    }\n  ]\n}\n";
        assert_eq!(introduced("{\n  \"platforms\": []\n}\n"), lines);
        assert_eq!(introduced("{\n  \"platforms\": [\n  ]\n}\n"), lines);
        let wide = lines.replace("  ", "\t").replace('\n', "\r\n");
        assert_eq!(introduced("{\r\n\t\"platforms\": []\r\n}\r\n"), wide);
        assert_eq!(introduced("{\r\n}"), lines.replace("  ", "    ").trim_end().replace('\n', "\r\n"));
        assert_eq!(introduced("{\n  \"bridge\": 1\n}\n"), lines.replacen("  ", "  \"bridge\": 1,\n  ", 1));
        let other = "    {\n      \"platform\": \"config\",\n      \"port\": 1\n    }";
        let ours =
            "    {\n      \"platform\": \"Ring\",\n      \"name\": \"Ring\",\n      \"refreshToken\": \"t\"\n    }";
        assert_eq!(
            introduced(&format!("{{\n  \"platforms\": [\n{other}\n  ]\n}}")),
            format!("{{\n  \"platforms\": [\n{other},\n{ours}\n  ]\n}}")
        );
        assert_eq!(
            introduced(&format!("{{\n  \"platforms\": [{}]\n}}", other.trim())),
            format!("{{\n  \"platforms\": [{}, {}]\n}}", other.trim(), ours.trim())
        );
    }

    #[test]
    fn no_block_is_added_to_the_json_of_another_program() {
        for other in
            [r#"{"name": "my-app", "version": "1.0.0"}"#, r#"{"ring_token": "x"}"#, r#"{"a": {"platforms": []}}"#]
        {
            let Err(error) = ring().introduce(Some(other.as_bytes()), &token()) else { panic!("{other}") };
            assert_eq!(error.to_string(), "It is JSON, but not Homebridge's config.json. Check the path.");
        }
    }

    #[test]
    fn a_new_block_has_the_name_that_was_asked_for() {
        let config = r#"{"platforms":[{"platform":"Ring","name":"A"}]}"#;
        let (after, introduced) = named("B \"2\"").introduce(Some(config.as_bytes()), &Secret::new("t")).unwrap();
        let added = r#",{"platform":"Ring","name":"B \"2\"","refreshToken":"t"}]}"#;
        assert_eq!(String::from_utf8(after).unwrap(), config.replace("]}", added));
        assert!(introduced.added);
    }

    #[test]
    fn email_and_password_go_from_any_position() {
        for (before, after) in [
            (
                r#"{"email": "e", "password": "p", "platform": "Ring", "a": 1}"#,
                r#"{"platform": "Ring", "a": 1, "refreshToken": "t"}"#,
            ),
            (
                r#"{"platform": "Ring", "email": "e", "password": "p", "a": 1}"#,
                r#"{"platform": "Ring", "a": 1, "refreshToken": "t"}"#,
            ),
            (
                r#"{ "platform": "Ring", "a": 1, "email": "e", "password": "p" }"#,
                r#"{ "platform": "Ring", "a": 1, "refreshToken": "t" }"#,
            ),
            (r#"{"email": "e", "platform": "Ring", "password": "p"}"#, r#"{"platform": "Ring", "refreshToken": "t"}"#),
            (
                r#"{"refreshToken": "x", "email": "e", "platform": "Ring", "email": "e"}"#,
                r#"{"refreshToken": "t", "platform": "Ring"}"#,
            ),
            (
                "{\n  \"email\": \"e\",\n  \"platform\": \"Ring\",\n  \"password\": null\n}",
                "{\n  \"platform\": \"Ring\",\n  \"refreshToken\": \"t\"\n}",
            ),
        ] {
            let wrap = |block: &str| format!(r#"{{"platforms": [{block}]}}"#);
            assert_eq!(introduced(&wrap(before)), wrap(after));
        }
    }
}

mod dotenv {
    use regex::Regex;

    use super::super::assignments::{assignments, meaning};
    use super::*;

    fn pairs(bytes: &[u8]) -> Vec<(String, String)> {
        assignments(bytes)
            .into_iter()
            .map(|one| (String::from_utf8(bytes[one.key].to_vec()).unwrap(), meaning(&bytes[one.value])))
            .collect()
    }

    /// Reads a text by the rule of the reference reader, with another regex engine.
    fn reference(text: &str) -> Vec<(String, String)> {
        const SPACE: &str = r"[\t-\r \u{a0}\u{1680}\u{2000}-\u{200a}\u{202f}\u{205f}\u{3000}\u{feff}]";
        const RULE: &str = r#"(?m)^S*(?:exportS+)?([0-9A-Za-z_.-]+)(?:S*=S*?|:S+?)(S*'(?:\\'|[^'])*'|S*"(?:\\"|[^"])*"|S*`(?:\\`|[^`])*`|[^#\r\n]+)?S*(?:#[^\n]*)?$"#;
        const QUOTES: &str = r#"(?m)^(?:'((?s:.*))'|"((?s:.*))"|`((?s:.*))`)$"#;
        static RULES: LazyLock<[Regex; 3]> = LazyLock::new(|| {
            [RULE.replace('S', SPACE), format!("^{SPACE}+|{SPACE}+$"), QUOTES.into()]
                .map(|rule| Regex::new(&rule).unwrap())
        });
        let [rule, ends, quotes] = &*RULES;
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let pair = |found: regex::Captures<'_>| {
            let value = ends.replace_all(found.get(2).map_or("", |value| value.as_str()), "").into_owned();
            let bare = quotes.replace_all(&value, "$1$2$3").into_owned();
            let meant = if value.starts_with('"') { bare.replace("\\n", "\n").replace("\\r", "\r") } else { bare };
            (found[1].to_owned(), meant)
        };
        rule.captures_iter(&text).map(pair).collect()
    }

    #[test]
    fn a_corpus_of_odd_env_files_round_trips() {
        for (index, case) in corpus::env_files(CASES).iter().enumerate() {
            let before = case.text();
            let why = || format!("case {index}: {:?}", String::from_utf8_lossy(&before));
            let shown = env().read(&before).unwrap_or_else(|error| panic!("{error}: {}", why()));
            assert_eq!(shown, case.place.filter(|place| !place.is_empty()).map(Secret::from), "{}", why());
            let after = env().write(&before, &token()).unwrap_or_else(|error| panic!("{error}: {}", why()));
            assert_eq!(env().read(&after), Ok(Some(token())), "{}", why());
            corpus::leave("env", index, &before, &after);
            let (added, again) = (env().introduce(Some(&before), &token()).unwrap().1.added, after.clone());
            assert_eq!(added, case.place.is_none());
            let last = reference(&String::from_utf8_lossy(&again)).into_iter().rfind(|(key, _)| key == Dotenv::KEY);
            assert_eq!(last.map(|(_, value)| value).as_deref(), Some(TOKEN), "{}", why());

            let cleared = env().clear(&after).unwrap();
            assert_eq!(env().read(&cleared), Ok(None), "{}", why());
            assert_eq!(env().write(&cleared, &token()).map(|bytes| env().read(&bytes)), Ok(Ok(Some(token()))));
            if let Some(place) = case.place {
                assert_eq!(after, case.with(TOKEN), "{}", why());
                if !place.is_empty() {
                    assert_eq!(env().write(&after, &Secret::new(place)).unwrap(), before, "{}", why());
                }
            } else {
                assert!(after.starts_with(&before), "{}", why());
            }
        }
    }

    #[test]
    fn the_key_is_the_name_of_a_variable() {
        for key in ["RING_REFRESH_TOKEN", "_a", "ring.token", "A-1"] {
            assert!(Dotenv::new(key).is_ok());
        }
        for key in ["", "1A", "A B", "A=B", "Ä", "-a", ".a", "A\n"] {
            assert_eq!(Dotenv::new(key).unwrap_err().code(), crate::ErrorCode::InvalidArgument, "{key}");
        }
    }

    #[test]
    fn a_line_is_added_if_there_is_none() {
        let line = "RING_REFRESH_TOKEN=t";
        for (before, after) in [
            ("", format!("{line}\n")),
            ("A=1", format!("A=1\n{line}\n")),
            ("A=1\n", format!("A=1\n{line}\n")),
            ("A=1\r\nB=2", format!("A=1\r\nB=2\r\n{line}\r\n")),
            ("\u{feff}", format!("\u{feff}{line}\n")),
            ("#RING_REFRESH_TOKEN=x\n", format!("#RING_REFRESH_TOKEN=x\n{line}\n")),
            ("A='\nRING_REFRESH_TOKEN=x\n'\n", format!("A='\nRING_REFRESH_TOKEN=x\n'\n{line}\n")),
        ] {
            assert_eq!(text(env().write(before.as_bytes(), &Secret::new("t"))), after);
        }
        let (bytes, introduced) = env().introduce(None, &Secret::new("t")).unwrap();
        assert_eq!((bytes, introduced.added), (format!("{line}\n").into_bytes(), true));
    }

    #[test]
    fn a_place_without_a_token_gets_one() {
        for (before, after) in [
            ("RING_REFRESH_TOKEN=", "RING_REFRESH_TOKEN=t"),
            ("RING_REFRESH_TOKEN= # c", "RING_REFRESH_TOKEN=t # c"),
            ("RING_REFRESH_TOKEN=# c", "RING_REFRESH_TOKEN=t # c"),
            ("RING_REFRESH_TOKEN='' # c", "RING_REFRESH_TOKEN='t' # c"),
            ("RING_REFRESH_TOKEN: \nA=1", "RING_REFRESH_TOKEN: t\nA=1"),
        ] {
            assert_eq!(text(env().write(before.as_bytes(), &Secret::new("t"))), after);
        }
    }

    #[test]
    fn quotes_stay_unless_the_token_forbids_them() {
        for (before, token, after) in [
            ("'x'", "t", "'t'"),
            ("`x` # c", "t", "`t` # c"),
            ("'x'", "it's", "\"it's\""),
            ("x # c", "a b#c", "'a b#c' # c"),
            ("\"x\"", "a$b", "'a$b'"),
            ("x", "a'b\"c", "`a'b\"c`"),
            ("\"x", "t", "t"),
        ] {
            let before = format!("RING_REFRESH_TOKEN={before}\n");
            let after = format!("RING_REFRESH_TOKEN={after}\n");
            assert_eq!(text(env().write(before.as_bytes(), &Secret::new(token))), after);
        }
        for token in ["a\nb", "'\"`", "\\", ""] {
            assert!(
                matches!(env().write(b"RING_REFRESH_TOKEN=x", &Secret::new(token)), Err(FormatError::Odd(_))),
                "{token}"
            );
        }
    }

    #[test]
    fn of_several_the_last_is_changed_and_a_logout_empties_all() {
        let before = "RING_REFRESH_TOKEN=a\nexport RING_REFRESH_TOKEN='b' # c\n";
        assert_eq!(env().read(before.as_bytes()), Ok(Some(Secret::new("b"))));
        assert_eq!(text(env().write(before.as_bytes(), &Secret::new("t"))), before.replace("'b'", "'t'"));
        let cleared = "RING_REFRESH_TOKEN=\nexport RING_REFRESH_TOKEN='' # c\n";
        assert_eq!(text(env().clear(before.as_bytes())), cleared);
        assert_eq!(env().read(cleared.as_bytes()), Ok(None));
    }

    #[test]
    fn a_value_on_other_lines_is_left_alone() {
        for odd in [
            "RING_REFRESH_TOKEN:\nOTHER=1\n",
            "RING_REFRESH_TOKEN:\r\nOTHER=1\r\n",
            "RING_REFRESH_TOKEN=\n'OTHER'\n",
            "RING_REFRESH_TOKEN\n=x\n",
            "RING_REFRESH_TOKEN=\"x\nOTHER=1\nMORE=\"\n",
            "RING_REFRESH_TOKEN='x\u{2028}y'\n",
            "RING_REFRESH_TOKEN=x\0\n",
        ] {
            for outcome in [env().write(odd.as_bytes(), &token()), env().clear(odd.as_bytes())] {
                assert!(matches!(outcome, Err(FormatError::Odd(_))), "{odd:?} {outcome:?}");
            }
        }
    }

    #[test]
    fn a_line_that_another_would_swallow_is_not_added() {
        assert!(matches!(env().write(b"OTHER:\n", &token()), Err(FormatError::Odd(_))));
        for json in ["{\"bridge\": {}}", "\u{feff}{\n}\n"] {
            assert!(matches!(env().write(json.as_bytes(), &token()), Err(FormatError::Odd(_))), "{json}");
        }
    }

    #[test]
    fn a_quote_behind_a_backslash_closes_only_if_no_other_can() {
        for text in [
            r"A='it\'s' # c",
            r"A='x\'",
            "A='x\\' \nB=1\nC=\\'\nD=1",
            "A='x\\' # c\nB=1 'y\nC='z\\' d\n",
            "A=\"x\\\\\" y\nB=\"1\"",
            "export\nA=1\nexport = 2\nexport A:3\nB: `4`",
        ] {
            assert_eq!(pairs(text.as_bytes()), reference(text), "{text:?}");
        }
        let two = "A='x\\' \nB=1\nC=\\'\nD=1";
        assert_eq!(pairs(two.as_bytes()).len(), 2);
    }

    #[test]
    fn unicode_ends_of_lines_are_ends_of_lines() {
        let text = "A=1\u{2028}B=2\u{2029}C='3'\u{2028}#D=4";
        // The first value does not end there: by the rule only `\n` and `\r` end a value without quotes.
        assert_eq!(pairs(text.as_bytes())[0].0, "A");
        let quoted = "A='1'\u{2028}B='2'\u{2029}C='3'\u{2028}#D=4";
        let keys: Vec<String> = pairs(quoted.as_bytes()).into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["A", "B", "C"]);
    }

    proptest! {
        #[test]
        fn the_reference_reader_finds_the_same(parts in env_parts()) {
            let text = parts.concat();
            prop_assert_eq!(pairs(text.as_bytes()), reference(&text), "{:?}", text);
        }
    }
}

fn env_parts() -> impl Strategy<Value = Vec<&'static str>> {
    let parts = prop::sample::select(vec![
        "RING_REFRESH_TOKEN",
        "RING_REFRESH_TOKEN=",
        "A",
        "B.b-",
        "export ",
        "export",
        "=",
        "=",
        ":",
        ": ",
        " ",
        "\t",
        "'",
        "'",
        "\"",
        "\"",
        "`",
        "\\",
        "\\n",
        "#",
        "\n",
        "\n",
        "\n",
        "\r\n",
        "\r",
        "é",
        "\u{a0}",
        "\u{feff}",
        "$",
        "token",
    ]);
    prop::collection::vec(parts, 0..30)
}

fn json_parts() -> impl Strategy<Value = Vec<&'static str>> {
    let parts = prop::sample::select(vec![
        r#"{"platforms":["#,
        r#"{"platform":"Ring""#,
        r#","refreshToken":"x""#,
        r#","refreshToken":null"#,
        r#","email":"e""#,
        r#","name":"A""#,
        "}",
        "}",
        "]",
        "]}",
        ",",
        ":",
        " ",
        "\n  ",
        "\r\n",
        "\"",
        "\\",
        "\u{feff}",
        "null",
        "1",
        "{}",
        "[]",
        "{",
        "[",
        r#"{"platforms":[{"platform":"Ring"}]}"#,
        r#""x":1,"#,
    ]);
    prop::collection::vec(parts, 0..12)
}

/// Checks the properties that hold for any format and any bytes.
fn holds(format: &dyn Format, bytes: &[u8]) {
    let shown = format.read(bytes);
    if let Ok(after) = format.write(bytes, &token()) {
        assert_eq!(format.read(&after), Ok(Some(token())));
        assert_eq!(format.write(&after, &token()).as_ref(), Ok(&after));
        assert!(shown.is_ok());
    }
    if let Ok((after, _)) = format.introduce(Some(bytes), &token()) {
        assert_eq!(format.read(&after), Ok(Some(token())));
        assert_eq!(format.introduce(Some(&after), &token()), Ok((after, Introduced::default())));
    }
    if let Ok(after) = format.clear(bytes) {
        assert_eq!(format.read(&after), Ok(None));
        assert_eq!(format.clear(&after).as_ref(), Ok(&after));
    }
    if let Err(error) = shown {
        assert!(error.to_string().ends_with('.'));
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        holds(&ring(), &bytes);
        holds(&env(), &bytes);
    }

    #[test]
    fn no_likely_config_panics_or_is_written_wrong(parts in json_parts()) {
        holds(&ring(), parts.concat().as_bytes());
        holds(&named("A"), parts.concat().as_bytes());
    }

    #[test]
    fn no_likely_env_file_panics_or_is_written_wrong(parts in env_parts()) {
        holds(&env(), parts.concat().as_bytes());
    }

    #[test]
    fn no_changed_byte_panics(index in 0usize..200, at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        static CORPORA: LazyLock<[Vec<Case>; 2]> =
            LazyLock::new(|| [corpus::configs(200), corpus::env_files(200)]);
        let [configs, env_files] = &*CORPORA;
        for (format, case) in [(&ring() as &dyn Format, &configs[index]), (&env(), &env_files[index])] {
            let mut bytes = case.text();
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            holds(format, &bytes);
        }
    }

    #[test]
    fn any_token_is_read_back_from_a_config(secret in ".{1,40}") {
        let config = br#"{"platforms":[{"platform":"Ring"}]}"#;
        let after = ring().write(config, &Secret::new(secret.clone())).unwrap();
        prop_assert_eq!(ring().read(&after), Ok(Some(Secret::new(secret.clone()))));
        if let Ok(after) = env().write(b"RING_REFRESH_TOKEN='x'\nA=1", &Secret::new(secret.clone())) {
            prop_assert_eq!(env().read(&after), Ok(Some(Secret::new(secret))));
        }
    }
}
