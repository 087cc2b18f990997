//! `Content-Digest` (RFC 9530): what a client says of its body.
//!
//! A dictionary of RFC 9651, of which `sha-256` alone is asked for. What is not
//! well-formed says nothing.

use http::HeaderMap;

/// The SHA-256 that the client says; the last one where there are several, as in any
/// dictionary. `None` if there is none.
pub fn sha256(headers: &HeaderMap) -> Option<[u8; 32]> {
    let lines = headers.get_all("content-digest").iter().filter_map(|line| line.to_str().ok());
    // No byte sequence has a comma.
    let members = lines.flat_map(|line| line.split(',')).map(|member| member.trim_matches([' ', '\t']));
    let said = members.filter_map(|member| member.strip_prefix("sha-256="));
    bytes(said.fold(None, |_, last| Some(last))?)
}

/// `:` base64 `:`, perhaps with parameters.
fn bytes(item: &str) -> Option<[u8; 32]> {
    let (text, rest) = item.strip_prefix(':')?.split_once(':')?;
    if !(rest.is_empty() || rest.starts_with(';')) {
        return None;
    }
    boring::base64::decode_block(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(lines: &[&str]) -> Option<[u8; 32]> {
        let line = |value: &&str| (http::HeaderName::from_static("content-digest"), value.parse().unwrap());
        sha256(&lines.iter().map(line).collect())
    }

    #[test]
    fn the_hash_is_found_wherever_it_stands() {
        // RFC 9530, appendix B.1.
        let text = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:";
        let hash = boring::sha::sha256(b"{\"hello\": \"world\"}\n");

        for lines in [
            &[text][..],
            &[&format!("sha-512=:YQ==:, {text}")],
            &["sha-512=:YQ==:", text],
            &["sha-256=:YQ==:", text],
            &[&format!("{text};a=b , md5=:YQ==:")],
        ] {
            assert_eq!(said(lines), Some(hash), "{lines:?}");
        }
    }

    #[test]
    fn what_is_no_hash_says_nothing() {
        let text = "RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=";
        for line in [
            "",
            "sha-512=:YQ==:",
            "sha-256=:YQ==:",
            "sha-256=::",
            "sha-256",
            text,
            &format!("sha-256={text}"),
            &format!("SHA-256=:{text}:"),
            &format!("sha-256=:{text}"),
            &format!("sha-256=:{text}:x"),
            &format!("sha-256=:{text}:, sha-256=:YQ==:"),
        ] {
            assert_eq!(said(&[line]), None, "{line}");
        }
    }
}
