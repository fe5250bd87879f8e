//! What a page of the documents tells its reader to do: files to write and commands to run, in their order.

/// A block between fences.
pub(crate) enum Block {
    /// A file, named in the block's first line as a comment.
    File {
        /// Where it goes.
        path: String,
        /// All of the block.
        text: String,
    },
    /// Commands.
    Shell {
        /// What the fence says after `sh`.
        tag: String,
        /// The commands.
        script: String,
    },
}

/// All blocks of a page but those that only show something (`console`).
pub(crate) fn blocks(page: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut parts = page.split("\n```");
    // Text and blocks take turns.
    parts.next();
    while let (Some(block), _) = (parts.next(), parts.next()) {
        let (fence, text) = block.split_once('\n').unwrap();
        let (language, tag) = fence.split_once(' ').unwrap_or((fence, ""));
        let text = format!("{text}\n");
        match language {
            "console" => {}
            "sh" => found.push(Block::Shell { tag: tag.to_owned(), script: text }),
            _ => {
                let first = text.lines().next().unwrap();
                let path = first.strip_prefix("# ").or(first.strip_prefix("// ")).filter(|path| path.starts_with('/'));
                let path = path.unwrap_or_else(|| panic!("a file's block begins with its path: {first:?}")).to_owned();
                found.push(Block::File { path, text });
            }
        }
    }
    found
}
