//! A switch that says by LLDP who it is. Pure: bytes of a frame, and what the server should show of them.

use wire::inventory::Stable;

/// The port of a switch at the other end of a cable.
pub(super) struct Switch {
    /// Its name, which is its chassis id too.
    pub(super) chassis: &'static str,
    /// Its port.
    pub(super) port: &'static str,
    /// The VLAN whose tag its frames carry.
    pub(super) vlan: Option<u16>,
}

impl Switch {
    /// The frame that it sends again and again.
    pub(super) fn frame(&self) -> Vec<u8> {
        // To the group of the nearest bridge.
        let mut frame = b"\x01\x80\xc2\0\0\x0e\x02\0\0\0\0\x01".to_vec();
        if let Some(vlan) = self.vlan {
            frame.extend([0x81, 0x00]);
            frame.extend(vlan.to_be_bytes());
        }
        frame.extend([0x88, 0xcc]);
        // Chassis and port in the forms that are free text, a time of 120 s, the system's name.
        let chassis = [&[7][..], self.chassis.as_bytes()].concat();
        let port = [&[5][..], self.port.as_bytes()].concat();
        for (kind, value) in [(1_u8, &chassis[..]), (2, &port), (3, &[0, 120]), (5, self.chassis.as_bytes()), (0, &[])]
        {
            frame.extend([kind << 1, u8::try_from(value.len()).unwrap()]);
            frame.extend(value);
        }
        // Ethernet's smallest frame is longer than that.
        frame.resize(60.max(frame.len()), 0);
        frame
    }

    /// What is shown at the port with this MAC, if it is not this switch.
    pub(super) fn difference(&self, mac: &str, shown: &Stable) -> Option<String> {
        let nic = shown.nics.iter().find(|nic| nic.mac.as_deref() == Some(mac))?;
        let heard = nic.lldp.as_ref().map_or(&[][..], |lldp| &lldp.neighbours);
        let is_it = match heard {
            [one] => {
                (one.chassis.as_str(), one.port.as_str(), one.tagged) == (self.chassis, self.port, self.vlan)
                    && one.system_name.as_deref() == Some(self.chassis)
                    && !one.raw.is_empty()
            }
            _ => false,
        };
        (!is_it).then(|| format!("switch at port {mac}: given {} {}, shown {heard:?}", self.chassis, self.port))
    }
}
