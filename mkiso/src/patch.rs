//! The spans of an image that a site may fill, with other bytes in them: the whole change of an image, checked before the first
//! byte of it is written.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::bootline;
use crate::image::{Image, Own, Span};

/// Bytes that take the place of others.
#[derive(Debug)]
pub struct Patch {
    /// Their place.
    pub span: Span,
    /// As many as the span is long.
    pub bytes: Vec<u8>,
}

/// What makes an image have this in its slot and on its boot lines, in order of place.
///
/// # Errors
/// It does not fit, or the image's descriptor names the same bytes twice.
pub fn patches(image: &Image, own: &Own) -> Result<Vec<Patch>> {
    let mut patches = vec![Patch { span: image.slot, bytes: own.content.to_slot(image.slot.length)? }];
    for span in &image.lines {
        let bytes = bootline::fill(&own.kernel_arguments, usize::try_from(span.length)?)?;
        patches.push(Patch { span: *span, bytes });
    }
    patches.sort_by_key(|patch| patch.span.offset);
    for pair in patches.windows(2) {
        ensure!(
            pair[0].span.offset.checked_add(pair[0].span.length).is_some_and(|end| end <= pair[1].span.offset),
            "the descriptor of {} names byte {} twice; the image is damaged",
            image.path.display(),
            pair[1].span.offset
        );
    }
    Ok(patches)
}

/// Sends the image with these changes.
///
/// # Errors
/// It cannot be read, ends early, or `out` fails.
pub fn send(image: &Path, patches: &[Patch], out: &mut impl Write) -> Result<()> {
    let mut file = File::open(image).with_context(|| format!("cannot open {}", image.display()))?;
    let mut send = || -> std::io::Result<()> {
        for Patch { span, bytes } in patches {
            let before = span.offset - file.stream_position()?;
            if std::io::copy(&mut (&file).take(before), out)? < before {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            out.write_all(bytes)?;
            file.seek(SeekFrom::Start(span.offset + span.length))?;
        }
        std::io::copy(&mut file, out)?;
        out.flush()
    };
    send().with_context(|| format!("cannot hand on {}", image.display()))
}
