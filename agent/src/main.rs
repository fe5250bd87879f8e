//! `mk-agent`: the one program in the image. As PID 1 it brings the machine up and supervises; as `mk-agent run UNIT`
//! it is one of the supervised units; otherwise it is the command line of a running node.

mod checkin;
mod console;
mod control;
mod devices;
mod ext;
mod facts;
mod init;
mod mirror;
mod net;
mod nic;
mod state;
mod tree;

fn main() {}
