use std::collections::HashSet;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::ErrorCode;

const WEB_TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJyZWZyZXNoX2NpZCI6InJpbmcifQ.c2lnbmF0dXJl-X_9";

/// A wrapper in which standard base64 and the form for URLs differ, with padding at its end.
fn wrapper() -> String {
    let text = STANDARD.encode(format!(r#"{{"rt":"{WEB_TOKEN}","hid":"h-1","pnc":{{"k":"ÿ?>~¿"}},"later":1}}"#));
    assert!(text.contains(['+', '/']) && text.ends_with('='), "{text}");
    text
}

fn in_url(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn url_safe(text: &str) -> String {
    text.trim_end_matches('=').replace('+', "-").replace('/', "_")
}

/// The text in each of the forms in which people paste it.
fn dressed(text: &str) -> Vec<String> {
    let half = text.len() / 2;
    let mut forms: Vec<String> = PAIRS.iter().map(|(open, close)| format!("{open}{text}{close}")).collect();
    forms.extend([
        text.to_owned(),
        format!("  {text}\r\n"),
        format!("\u{feff}{text}"),
        format!("\u{200b}{text}\u{200d}\u{2060}"),
        format!("\"{text}\","),
        format!("'{text}';"),
        format!("{text},"),
        format!("{text} ;"),
        in_url(text),
        in_url(&in_url(text)),
        url_safe(text),
        STANDARD.encode(text),
        STANDARD.encode(text).trim_end_matches('=').to_owned(),
        format!("{{\"refreshToken\":\"{text}\"}}"),
        format!("{{ \"name\": \"x\", \"refresh_token\": \"{text}\" }}"),
        format!("{{\"ring_token\": \"{text}\", \"n\": [1, {{}}]}}"),
        format!("{{\"token\":\"{text}\"}}"),
        format!("\"refreshToken\": \"{text}\""),
        format!("\"refreshToken\": \"{text}\","),
        format!("refreshToken: {text}"),
        format!("refreshToken: '{text}'"),
        format!("RING_REFRESH_TOKEN={text}"),
        format!("export RING_REFRESH_TOKEN=\"{text}\""),
        format!("RING_TOKEN = '{text}'"),
        format!("'RING_REFRESH_TOKEN={text}'"),
        format!("{}\n{}", &text[..half], &text[half..]),
        format!("\"{}\r\n   {}\"", &text[..half], &text[half..]),
        format!("{}\u{200b}{}", &text[..half], &text[half..]),
        format!("{{\"refreshToken\":\"{}\"}}", in_url(text)),
        STANDARD.encode(format!("{{\"refreshToken\":\"{text}\"}}")),
    ]);
    forms
}

fn flaw(text: &str) -> Flaw {
    match read(text, None) {
        Pasted::Reference(flaw) => {
            assert!(flaw.is_reference(), "{text}");
            flaw
        }
        Pasted::Refused(flaw) => {
            assert!(!flaw.is_reference(), "{text}");
            flaw
        }
        other => panic!("{text:?} is {other:?}"),
    }
}

#[test]
fn a_text_is_percent_decoded_only_if_each_percent_sign_begins_an_escape() {
    assert_eq!(percent_decoded("a%3D%3d%25b").as_deref(), Some("a==%b"));
    for other in ["a=", "a%", "a%3", "%3D%4", "%3D%zz", "%%3D", "%3%44", "%é0", "%FF"] {
        assert_eq!(percent_decoded(other), None, "{other}");
    }
}

#[test]
fn a_wrapper_comes_out_of_each_form_byte_for_byte() {
    let wrapper = wrapper();
    for form in dressed(&wrapper) {
        let token = token(&form, None).unwrap_or_else(|error| panic!("{form}: {error}"));
        assert_eq!(token.wrapped().expose(), wrapper, "{form}");
        assert_eq!(token.raw(), WEB_TOKEN);
        assert_eq!(token.hardware_id(), Some("h-1"));
        assert!(token.has_push_credentials());
    }
}

#[test]
fn a_raw_token_comes_out_of_each_form() {
    for form in dressed(WEB_TOKEN) {
        assert_eq!(token(&form, None).map(|token| token.raw()).ok().as_deref(), Some(WEB_TOKEN), "{form}");
    }
}

#[test]
fn the_json_of_a_wrapper_is_wrapped_again_with_all_that_is_in_it() {
    let json = format!(r#"{{"rt":"{WEB_TOKEN}","hid":"h-1","pnc":{{"a":1}}}}"#);
    for form in [json.clone(), format!("'{json}'"), in_url(&json), STANDARD.encode(STANDARD.encode(&json))] {
        assert_eq!(token(&form, None).unwrap().wrapped().expose(), STANDARD.encode(&json), "{form}");
    }
}

#[test]
fn an_inner_token_is_taken_byte_for_byte() {
    for inner in [
        "YOUR_REFRESH_TOKEN_HERE",
        "\"quoted and 16 long\"",
        "${A_VARIABLE_NAME}",
        "person@example.com.x",
        " blanks around it ",
    ] {
        let text = STANDARD.encode(serde_json::json!({ "rt": inner }).to_string());
        assert_eq!(token(&text, None).unwrap().raw(), inner);
    }
}

#[test]
fn an_opaque_token_loses_its_noise_alone() {
    let opaque = "aB3-._~+/x9Q0opaque0token==";
    for form in [opaque.to_owned(), format!(" \"{opaque}\"; "), format!("<{opaque}>")] {
        assert_eq!(token(&form, None).unwrap().raw(), opaque, "{form}");
    }
    // A slash at the beginning does not make a token a path, and a word of an example in it does not make it a
    // placeholder.
    for opaque in [
        "/3aB0opaque/token/x9Q0",
        "/run3/opaque/token0",
        "hereYourToken00123",
        "test-refresh-token",
        "processXenv.TOKEN0",
    ] {
        assert_eq!(token(opaque, None).unwrap().raw(), opaque);
    }
    // No layer is removed if neither a wrapper nor a JSON web token comes out.
    assert_eq!(flaw(&format!("RING_REFRESH_TOKEN={opaque}")), Flaw::Setting);
    assert_eq!(flaw(&format!("{{\"refreshToken\":\"{opaque}\"}}")), Flaw::Setting);
    assert_eq!(flaw("aB3%2Dopaque%2Dtoken%2D0123"), Flaw::Characters);
}

#[test]
fn nothing_is_nothing_in_each_form() {
    for text in ["", " \r\n", "\u{feff}", "\"\"", "''", "\u{200b}", "\" \",", "()"] {
        assert_eq!(read(text, None), Pasted::Nothing, "{text:?}");
        let error = token(text, None).unwrap_err();
        assert_eq!(error.message(), "The refresh token is empty. Get one with `npx ring-auth`.");
    }
}

#[test]
#[allow(clippy::too_many_lines, reason = "one table of texts, by their kind")]
fn what_cannot_be_a_token_is_refused_by_its_kind() {
    let wrapper = wrapper();
    let of = |json: &str| STANDARD.encode(json);
    let cut = |part: &str| part.to_owned();
    let cases: Vec<(Flaw, Vec<String>)> = vec![
        (
            Flaw::CutOff,
            vec![
                cut(&wrapper[..wrapper.len() / 2]),
                cut(&wrapper[..wrapper.len() - 6]),
                cut(&wrapper[7..]),
                cut(&wrapper[wrapper.len() / 2..]),
                cut(&wrapper[20..90]),
                format!("\"{}", &wrapper[..40]).replace('"', ""),
                format!("{}…", &wrapper[..40]),
                format!("{}...", &wrapper[..40]),
                format!("\"refreshToken\": \"{}\"", &wrapper[..90]),
                in_url(&url_safe(&wrapper)[..50]),
                cut(&WEB_TOKEN[..WEB_TOKEN.len() - 30]),
                cut("eyJhbGciOiJIUzI1NiJ9.eyJyZWZyZXNoX2NpZCI6InJpbmcifQ."),
                cut("eyJhbGciOiJIUzI1NiJ9"),
                cut(&WEB_TOKEN[4..]),
            ],
        ),
        (
            Flaw::NoToken,
            vec![of(r#"{"hid":"11111111-2222"}"#), of(r#"{"rt":"","hid":"1234567890"}"#), of(r#"{"rt":7,"hid":"x"}"#)],
        ),
        (Flaw::Code, ["123456", "1234", "123 456", "123-456", "\"123456\"", "12345678"].map(cut).to_vec()),
        (
            Flaw::Email,
            ["person@example.com", "a.b+c@mail.example.org", "<person@example.com>", "email_token=person@example.com"]
                .map(cut)
                .to_vec(),
        ),
        (
            Flaw::Unset,
            [
                "undefined",
                "null",
                "NULL",
                "None",
                "NaN",
                "[object Object]",
                "[object Promise]",
                "'undefined'",
                "RING_REFRESH_TOKEN=undefined",
                "{\"refreshToken\":\"null\"}",
            ]
            .map(cut)
            .to_vec(),
        ),
        (
            Flaw::Placeholder,
            [
                "YOUR_REFRESH_TOKEN",
                "YOUR_TOKEN_1",
                "your-refresh-token-here",
                "<your refresh token>",
                "changeme",
                "change_me",
                "CHANGE-ME",
                "<token>",
                "<refresh-token>",
                "{refresh token}",
                "xxxxxxxxxxxxxxxxxxxx",
                "****************",
                "...",
                "paste your token here",
                "PASTE_YOUR_TOKEN_HERE",
                "INSERT_REFRESH_TOKEN_HERE",
                "REPLACE_WITH_REFRESH_TOKEN",
                "refresh-token-goes-here",
                "yourRefreshTokenHere",
                "................",
                "________________",
                "RING_REFRESH_TOKEN",
            ]
            .map(cut)
            .to_vec(),
        ),
        (
            Flaw::Variable,
            [
                "${RING_REFRESH_TOKEN}",
                "$RING_REFRESH_TOKEN",
                "\"${RING_REFRESH_TOKEN:-none}\"",
                "$(cat /run/secrets/ring)",
                "$env:RING_TOKEN",
                "%RING_TOKEN%",
                "RING_REFRESH_TOKEN=${OTHER}",
                "process.env.RING_REFRESH_TOKEN",
                "process.env[\"RING_REFRESH_TOKEN\"]",
                "process.env?.RING_REFRESH_TOKEN",
                "import.meta.env.RING_REFRESH_TOKEN",
                "os.environ.get('RING_REFRESH_TOKEN')",
                "env:RING_REFRESH_TOKEN",
            ]
            .map(cut)
            .to_vec(),
        ),
        (Flaw::Template, ["{{ ring_token }}", "{{ring.token}}", "<%= ENV['RING'] %>"].map(cut).to_vec()),
        (
            Flaw::SecretManager,
            ["op://Private/Ring/token", "vault:secret/data/ring#token", "bws://abc", "file:///run/secrets/ring"]
                .map(cut)
                .to_vec(),
        ),
        (
            Flaw::Path,
            [
                "/run/secrets/ring_refresh_token",
                "\"/var/lib/homebridge/token\"",
                "RING_REFRESH_TOKEN=/run/secrets/token",
                "./ring-refresh-token.txt",
                "../secrets/ring-token",
                "~/.config/ring/token",
            ]
            .map(cut)
            .to_vec(),
        ),
        (Flaw::Tag, ["!secret ring_token", "!env_var RING_TOKEN", "!vault |"].map(cut).to_vec()),
        (
            Flaw::Encrypted,
            [
                "encrypted:BDqDBibm4wsYqMpCjTQ6BsDHmMadg9K3dAt+Z9HPMfLEIRVz50hmLXPXRuDBXaJi",
                "ENC[AES256_GCM,data:abc]",
                "$ANSIBLE_VAULT;1.1;AES256",
            ]
            .map(cut)
            .to_vec(),
        ),
        (
            Flaw::Setting,
            ["{\"name\":\"x\"}", "{\"refreshToken\":\"a\",\"token\":\"b\"}", "refreshToken: some-opaque-token-0123"]
                .map(cut)
                .to_vec(),
        ),
        (
            Flaw::Characters,
            [
                "two words",
                "bell\u{7}",
                "naïve",
                "https://account.ring.com/x",
                "not a token at all",
                "\"unbalanced-0123456789",
                "hunter2!hunter2!hunter2!",
            ]
            .map(cut)
            .to_vec(),
        ),
        (
            Flaw::Short,
            vec![
                cut("hunter2"),
                cut("x"),
                cut("token"),
                cut("refreshToken"),
                cut("fifteen-letters"),
                of(r#"{"rt":"fifteen-letters"}"#),
                of(r#"{"rt":"a","hid":"11111111-2222-5333-8444-555555555555"}"#),
            ],
        ),
        (
            Flaw::Long,
            vec![
                "x".repeat(MAX_TOKEN_BYTES + 1),
                "x ".repeat(MAX_TEXT_BYTES),
                format!("{WEB_TOKEN}{}", "a".repeat(MAX_TOKEN_BYTES)),
                "{".repeat(MAX_TEXT_BYTES + 1),
            ],
        ),
    ];
    let mut sentences = HashSet::new();
    for (kind, texts) in cases {
        for text in texts {
            assert_eq!(flaw(&text), kind, "{:?}", text.chars().take(200).collect::<String>());
            let error = token(&text, None).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidArgument);
            assert_eq!(error.message(), format!("The refresh token {}. {}", kind.reason(), kind.advice()));
            assert!(text.len() < 12 || !error.message().contains(&text), "{text}");
        }
        assert!(sentences.insert(kind.reason()), "{kind:?} has a sentence of its own");
        assert!(kind.advice().ends_with('.') && !kind.reason().ends_with('.'));
        let nothing = kind.nothing_in("the store");
        assert_eq!(nothing.code(), ErrorCode::NoRefreshToken);
        assert!(nothing.message().starts_with("There is no refresh token in the store: the text there "), "{nothing}");
    }
    assert!(Flaw::Short.error().message().contains("A test needs a made-up token of 16 or more characters."));
}

#[test]
fn the_limits_are_64_kib_after_the_noise_and_128_kib_before() {
    let longest = "x".repeat(MAX_TOKEN_BYTES);
    assert_eq!(token(&longest, None).unwrap().raw(), longest);
    assert_eq!(token(&format!("\"{longest}\""), None).unwrap().raw(), longest);
    let padded = format!("{}{WEB_TOKEN}", "\n".repeat(MAX_TEXT_BYTES));
    assert_eq!(token(&padded, None).unwrap().raw(), WEB_TOKEN, "outer white space does not count");
    let apart = |blanks: usize| format!("{}{}{}", &WEB_TOKEN[..9], " ".repeat(blanks), &WEB_TOKEN[9..]);
    assert_eq!(token(&apart(MAX_TEXT_BYTES - WEB_TOKEN.len()), None).unwrap().raw(), WEB_TOKEN);
    assert_eq!(flaw(&apart(MAX_TEXT_BYTES - WEB_TOKEN.len() + 1)), Flaw::Long);
}

#[test]
fn what_the_state_knows_is_recognised_first() {
    for raw in ["short", "undefined", "123456", "op://a/b", "${NAME}"] {
        let known = RefreshToken::from_raw(raw);
        let text = known.wrapped();
        assert!(token(text.expose(), None).is_err());
        let mut state = State::new("https://oauth.ring.com");
        assert!(token(text.expose(), Some(&state)).is_err());
        state.take_over(known.clone(), 1);
        assert_eq!(token(text.expose(), Some(&state)).unwrap(), known);
        assert_eq!(token(raw, Some(&state)).unwrap(), known);
        state.take_over(RefreshToken::from_raw("another"), 2);
        assert_eq!(token(&format!(" {}\n", text.expose()), Some(&state)).unwrap(), known);
    }
}

#[test]
fn a_text_that_was_made_to_have_many_layers_takes_no_time() {
    let began = Instant::now();
    for text in [
        "token:".repeat(MAX_TEXT_BYTES / 6),
        "token=%25".repeat(MAX_TEXT_BYTES / 9),
        "{\"token\":".repeat(MAX_TEXT_BYTES / 9),
        "(".repeat(MAX_TEXT_BYTES / 2) + &")".repeat(MAX_TEXT_BYTES / 2),
        "%25 ".repeat(MAX_TEXT_BYTES / 4),
        "A".repeat(MAX_TEXT_BYTES),
        "eyJ".repeat(MAX_TEXT_BYTES / 3),
        format!("{{{}}}", "\"a\":1,".repeat(MAX_TEXT_BYTES / 7)),
    ] {
        assert!(!matches!(read(&text, None), Pasted::Token(_)));
    }
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

/// Number of generated texts, which `RING_AUTH_TEXTS` can set, for example to a million.
fn texts() -> u32 {
    std::env::var("RING_AUTH_TEXTS").ok().and_then(|count| count.parse().ok()).unwrap_or(2_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: texts(), ..ProptestConfig::default() })]

    #[test]
    fn nothing_given_panics_and_what_is_taken_stays_the_same(text in any::<String>()) {
        if let Pasted::Token(token) = read(&text, None) {
            let again = read(token.wrapped().expose(), None);
            prop_assert_eq!(again, Pasted::Token(token));
        }
    }

    #[test]
    fn noise_around_a_good_one_is_undone_or_refused_and_never_sent_changed(
        part in "[A-Za-z0-9_-]{1,60}", hid in "\\PC{0,20}", before in "[\\PC\n\t]{0,4}", after in "[\\PC\n\t]{0,4}",
        forms in proptest::collection::vec(0_usize..200, 0..3),
    ) {
        let raw = format!("eyJhbGciOiJIUzI1NiJ9.eyJ{part}.{part}");
        let wrapped = STANDARD.encode(serde_json::json!({ "rt": raw, "hid": hid, "pnc": null }).to_string());
        for good in [raw.clone(), wrapped] {
            let mut text = good;
            for form in &forms {
                let mut all = dressed(&text.replace(|char: char| !char.is_ascii(), ""));
                text = all.swap_remove(form % all.len());
            }
            if let Pasted::Token(token) = read(&format!("{before}{text}{after}"), None) {
                // Text beside an opaque token can be read as a part of it. The result is another, longer token.
                let is_itself = token.raw() == raw;
                prop_assert!(is_itself || token.raw().len() > raw.len() && !before.is_empty() | !after.is_empty(), "{text}");
            }
        }
    }

    #[test]
    fn a_real_wrapper_and_a_raw_token_are_never_refused_nor_changed(
        rt in "[!-~é✓ ]{16,60}", hid in "\\PC{0,40}", key in "[a-z]{4,8}", number in any::<f64>(), part in "[A-Za-z0-9_-]{8,80}",
    ) {
        let json = serde_json::json!({ "rt": rt, "hid": hid, "pnc": { key: number } }).to_string();
        let text = STANDARD.encode(&json);
        let token = token(&text, None).unwrap();
        let wrapped = token.wrapped();
        prop_assert_eq!(wrapped.expose(), text.as_str());
        prop_assert_eq!(token.raw(), rt.as_str());
        let raw = format!("eyJ{part}.{part}.{part}");
        prop_assert_eq!(super::token(&raw, None).unwrap().raw(), raw);
    }
}
