//! Values that are left out on the wire: which they are, and structs whose fields all may be absent.

use std::collections::BTreeMap;

/// Declares structs whose fields all may be absent on the wire.
macro_rules! parts {
    ($($(#[$meta:meta])* $name:ident { $($(#[$fmeta:meta])* $field:ident: $kind:ty,)* })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct $name {
            $($(#[$fmeta])* #[serde(skip_serializing_if = "Absent::absent")] pub $field: $kind,)*
        }
    )*};
}

/// Tells which values are left out on the wire.
pub(crate) trait Absent {
    /// Whether the value is as good as none.
    fn absent(&self) -> bool;
}
impl<T> Absent for Option<T> {
    fn absent(&self) -> bool {
        self.is_none()
    }
}
impl<T> Absent for Vec<T> {
    fn absent(&self) -> bool {
        self.is_empty()
    }
}
impl<K, V> Absent for BTreeMap<K, V> {
    fn absent(&self) -> bool {
        self.is_empty()
    }
}
impl Absent for String {
    fn absent(&self) -> bool {
        self.is_empty()
    }
}
impl Absent for bool {
    fn absent(&self) -> bool {
        !*self
    }
}
impl Absent for u32 {
    /// A number that is no `Option` is always sent.
    fn absent(&self) -> bool {
        false
    }
}

// After the macro, since one is known only below its text.
pub(crate) use parts;
