//! The texts that a bucket's server answers with, and those that it is asked by.

/// The signs that stand for others in a text.
const SIGNS: [(char, &str); 5] = [
    ('&', "amp"),
    ('<', "lt"),
    ('>', "gt"),
    ('"', "quot"),
    ('\'', "apos"),
];

/// The longest name of a sign: `#1114111` and the like.
const SIGN_BYTES_MAX: usize = 10;

/// The text of the first element of a name, which has no attributes.
pub(super) fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let begin = format!("<{name}>");
    let from = text.find(&begin)? + begin.len();
    let rest = &text[from..];
    Some(&rest[..rest.find(&format!("</{name}>"))?])
}

/// A text as it stands in an element.
pub(super) fn escaped(text: &str) -> String {
    let mut whole = String::new();
    for letter in text.chars() {
        match SIGNS.iter().find(|(plain, _)| *plain == letter) {
            Some((_, name)) => whole.extend(["&", name, ";"]),
            None => whole.push(letter),
        }
    }
    whole
}

/// The text that stands in an element. Servers write the same sign by name or by number.
pub(super) fn unescaped(text: &str) -> String {
    let mut whole = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('&') {
        whole.push_str(before);
        let mut near = behind.bytes().take(SIGN_BYTES_MAX + 1);
        let end = near.position(|byte| byte == b';');
        let sign = end.and_then(|end| Some((sign_of(&behind[..end])?, &behind[end + 1..])));
        let (letter, behind) = sign.unwrap_or(('&', behind));
        whole.push(letter);
        rest = behind;
    }
    whole + rest
}

/// The letter that a sign stands for, by its name or number.
fn sign_of(name: &str) -> Option<char> {
    let Some(number) = name.strip_prefix('#') else {
        let known = SIGNS.iter().find(|(_, known)| *known == name);
        return known.map(|(plain, _)| *plain);
    };
    let number = match number.strip_prefix(['x', 'X']) {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => number.parse(),
    };
    char::from_u32(number.ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_an_answer_is_found() {
        let text = "<?xml version=\"1.0\"?><R xmlns=\"x\"><Bucket>b</Bucket>\
                    <UploadId>a&amp;b&quot;</UploadId></R>";
        let id = element(text, "UploadId").map(unescaped);
        assert_eq!(id.as_deref(), Some("a&b\""));
        assert_eq!(element(text, "Code"), None);
        assert_eq!(element("<Code>cut", "Code"), None);
    }

    #[test]
    fn signs_are_written_and_read_back() {
        for text in ["\"d41d8\"", "a<b>&amp;'", "&#34;"] {
            assert_eq!(unescaped(&escaped(text)), text);
        }
        assert_eq!(escaped("<&"), "&lt;&amp;");
    }

    #[test]
    fn signs_are_read_by_number_and_what_is_none_stays() {
        for (text, read) in [
            ("&#34;d41d8&#x22;", "\"d41d8\""),
            ("&#X26;amp;", "&amp;"),
            ("&amp;#34;", "&#34;"),
            ("&#55296;&#x;&;&none;&", "&#55296;&#x;&;&none;&"),
        ] {
            assert_eq!(unescaped(text), read);
        }
    }
}
