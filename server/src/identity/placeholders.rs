//! Values that firmware gives when nobody set one. They say nothing about which machine it is.
//!
//! The table grows by adding a line with where it was seen. It is compared in canonical form: lower case, `:` as `-`.

/// Serial numbers, asset tags and UUIDs that many machines share.
const TABLE: &[(&str, &str)] = &[
    ("to be filled by o.e.m.", "AMI reference BIOS; openshift/assisted-installer-agent issue 354"),
    ("to be filled by o.e.m", "the same without its full stop"),
    ("o.e.m.", "AMI reference BIOS"),
    ("default string", "AMI Aptio V reference BIOS"),
    ("system serial number", "ASUS and Supermicro boards sold without a system"),
    ("chassis serial number", "ASUS and Supermicro"),
    ("base board serial number", "AMI reference BIOS"),
    ("serial number", "Phoenix reference BIOS"),
    ("asset tag", "AMI reference BIOS"),
    ("asset-1234567890", "AMI reference BIOS"),
    ("chassis asset tag", "ASUS"),
    ("no asset tag", "HP desktops"),
    ("no asset information", "Lenovo"),
    ("asset tag not set", "Dell and Lenovo"),
    ("empty", "Insyde reference BIOS"),
    ("none", "several vendors"),
    ("null", "a program's missing value"),
    ("(null)", "a program's missing value"),
    ("nil", "a program's missing value"),
    ("n/a", "several vendors"),
    ("na", "several vendors"),
    ("not applicable", "several vendors"),
    ("not available", "several vendors"),
    ("not specified", "dmidecode's word for an absent string"),
    ("not provided", "several vendors"),
    ("not settable", "dmidecode's word for an absent UUID"),
    ("not present", "dmidecode's word for an absent UUID"),
    ("unspecified system serial number", "coreboot and SeaBIOS derivatives"),
    ("unknown", "several vendors"),
    ("undefined", "several vendors"),
    ("invalid", "several vendors"),
    ("oem", "several vendors"),
    ("-", "openshift/assisted-installer-agent pull request 955"),
    ("--", "several vendors"),
    (".", "several vendors"),
    ("0", "several vendors"),
    ("1234567890", "xcat2/xcat-core issue 5428"),
    ("0123456789", "AMI reference BIOS"),
    ("123456789", "several vendors"),
    ("12345678", "several vendors"),
    ("01234567", "several vendors"),
    ("01234567890123456789ab", "AMI reference BIOS"),
    ("0123456789abcdef", "several vendors"),
    ("123456", "several vendors"),
    ("ssn12345678901234567", "American Megatrends demonstration BIOS"),
    ("sernum0", "Award reference BIOS"),
    ("assettagnum0", "Award reference BIOS"),
    ("03000200-0400-0500-0006-000700080009", "AMI reference BIOS's UUID, on boards of many makers"),
    ("00020003-0004-0005-0006-000700080009", "the same in the other byte order"),
    ("12345678-1234-5678-90ab-cddeefaabbcc", "AMI and MSI boards"),
    ("12345678-1234-5678-90ab-cdef12345678", "several vendors"),
    ("fefefefe-fefe-fefe-fefe-fefefefefefe", "MSI boards"),
];

/// From this length on a value of one repeated character is nobody's number; FOG's rule (fogproject issue 198).
const REPEATED_FROM: usize = 6;

/// True for a value that no machine can be told by.
#[must_use]
pub fn is_placeholder(value: &str) -> bool {
    let value = value.trim();
    value.is_empty() || TABLE.iter().any(|(known, _)| *known == value) || is_repeated(value)
}

/// One character over and over, separators apart.
fn is_repeated(value: &str) -> bool {
    let mut characters = value.chars().filter(|c| !matches!(c, '-' | ' ' | '.' | '_'));
    match characters.next() {
        Some(first) => value.chars().count() >= REPEATED_FROM && characters.all(|c| c == first),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_known() {
        for value in [
            "",
            " ",
            "to be filled by o.e.m.",
            "0000000000",
            "xxxxxx",
            "........",
            "-",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "00000000-0000-0000-0000-000000000000",
            "03000200-0400-0500-0006-000700080009",
        ] {
            assert!(is_placeholder(value), "{value:?} passes for a number");
        }
    }

    #[test]
    fn short_and_real_values_pass() {
        for value in ["1", "abcd", "11111", "czj1234567", "112233-445566", "11223344-5566-7788-99aa-bbccddeeff00"] {
            assert!(!is_placeholder(value), "{value:?} is taken for a placeholder");
        }
    }

    #[test]
    fn the_table_is_in_canonical_form() {
        for (value, seen) in TABLE {
            assert_eq!(*value, value.trim().to_lowercase().replace(':', "-"), "never matches; seen: {seen}");
        }
    }
}
