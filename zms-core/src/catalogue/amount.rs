//! Sizes and durations as people type them: `512MiB`, `2g`, `90s`, `7d`, or a bare number of the setting's unit.

/// What a bare number counts, and what is rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unit {
    /// How it is written in the catalogue.
    pub name: &'static str,
    /// In bytes or in milliseconds.
    pub factor: i64,
    family: Family,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Bytes,
    Time,
}

/// Why a text is no amount.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AmountError {
    /// No number, or a suffix that is not known.
    NotAmount,
    /// Finer than the unit.
    NotWhole,
}

const UNITS: [Unit; 10] = [
    Unit { name: "B", factor: 1, family: Family::Bytes },
    Unit { name: "KiB", factor: 1 << 10, family: Family::Bytes },
    Unit { name: "MiB", factor: 1 << 20, family: Family::Bytes },
    Unit { name: "GiB", factor: 1 << 30, family: Family::Bytes },
    Unit { name: "TiB", factor: 1 << 40, family: Family::Bytes },
    Unit { name: "ms", factor: 1, family: Family::Time },
    Unit { name: "s", factor: 1_000, family: Family::Time },
    Unit { name: "min", factor: 60_000, family: Family::Time },
    Unit { name: "h", factor: 3_600_000, family: Family::Time },
    Unit { name: "d", factor: 86_400_000, family: Family::Time },
];

impl Unit {
    pub fn named(name: &str, family: Family) -> Option<Self> {
        UNITS.into_iter().find(|unit| unit.family == family && unit.name == name)
    }

    /// Names of the units of a family, for messages.
    pub fn names(family: Family) -> String {
        let names: Vec<_> = UNITS.iter().filter(|unit| unit.family == family).map(|unit| unit.name).collect();
        names.join(", ")
    }

    /// A suffix as people type it; `m` is MiB or minutes. `MB` is refused, because it is read in two ways.
    fn typed(suffix: &str, family: Family) -> Option<Self> {
        let suffix = suffix.to_ascii_lowercase();
        UNITS.into_iter().filter(|unit| unit.family == family).find(|unit| {
            let name = unit.name.to_ascii_lowercase();
            name == suffix || (name.strip_suffix("ib") == Some(&suffix)) || (name == "min" && suffix == "m")
        })
    }

    /// Reads `text` as a number of this unit.
    pub fn read(self, text: &str) -> Result<i64, AmountError> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let number: i64 = text[..digits].parse().map_err(|_| AmountError::NotAmount)?;
        let suffix = text[digits..].trim_start();
        if suffix.is_empty() {
            return Ok(number);
        }
        let typed = Self::typed(suffix, self.family).ok_or(AmountError::NotAmount)?;
        let amount = number.checked_mul(typed.factor).ok_or(AmountError::NotAmount)?;
        if amount % self.factor == 0 { Ok(amount / self.factor) } else { Err(AmountError::NotWhole) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_are_read_in_the_units_people_use() {
        let cases = [
            ("MiB", Family::Bytes, "512", Ok(512)),
            ("MiB", Family::Bytes, "512m", Ok(512)),
            ("MiB", Family::Bytes, "2 GiB", Ok(2048)),
            ("MiB", Family::Bytes, "1048576b", Ok(1)),
            ("B", Family::Bytes, "1g", Ok(1 << 30)),
            ("MiB", Family::Bytes, "100k", Err(AmountError::NotWhole)),
            ("MiB", Family::Bytes, "512MB", Err(AmountError::NotAmount)),
            ("MiB", Family::Bytes, "", Err(AmountError::NotAmount)),
            ("MiB", Family::Bytes, "-1", Err(AmountError::NotAmount)),
            ("MiB", Family::Bytes, "1.5g", Err(AmountError::NotAmount)),
            ("B", Family::Bytes, "9000000000t", Err(AmountError::NotAmount)),
            ("B", Family::Bytes, "99999999999999999999", Err(AmountError::NotAmount)),
            ("B", Family::Bytes, "5h", Err(AmountError::NotAmount)),
            ("h", Family::Time, "7d", Ok(168)),
            ("h", Family::Time, "120m", Ok(2)),
            ("h", Family::Time, "90min", Err(AmountError::NotWhole)),
            ("ms", Family::Time, "3s", Ok(3000)),
            ("ms", Family::Time, "1 ſ", Err(AmountError::NotAmount)),
        ];
        for (unit, family, text, expected) in cases {
            assert_eq!(Unit::named(unit, family).unwrap().read(text), expected, "{text} in {unit}");
        }
    }
}
