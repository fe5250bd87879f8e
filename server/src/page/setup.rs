//! What stands in place of the list while no machine has been seen.

use maud::{Markup, html};

/// How the first machine gets here.
pub(super) fn first_steps() -> Markup {
    html! {
        section.start aria-labelledby="first" {
            h2 id="first" { "No machine has been seen yet" }
            p { "A machine appears here by itself, a few seconds after it has booted the microkernel." }
            h3 { "From CD, USB stick or virtual media" }
            ol {
                li { "Build the image: " code { "cargo xtask build-iso" } }
                li {
                    "Tell it where this server is, by an address that machines can reach: "
                    code { "mkiso customize dist/razor-mk-*-production.iso --server http://ADDRESS:8150" }
                }
                li { "Boot the machine from that ISO." }
            }
            h3 { "From the network" }
            ol {
                li { "Give this server the image: " code { "mk-server image add dist/razor-mk-*-production.iso" } }
                li {
                    "Let DHCP hand iPXE this boot file: "
                    code { "http://ADDRESS:8150/api/microkernel/bootstrap" }
                }
            }
            p { "No machine at hand? " code { "cargo xtask boot" } " boots the image in QEMU." }
            p {
                "When a machine booted and is not here, its own screen says what is missing; "
                code { "curl http://ADDRESS:8150/svc/hello" } " from its network shows whether it can reach this server."
            }
        }
    }
}
