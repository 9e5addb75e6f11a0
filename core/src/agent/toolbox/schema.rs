//! The tools as a model sees them.

use serde_json::{Value, json};

use super::Access;
use crate::provider::ToolSpec;

/// Everything that this access offers, in an order that never changes.
pub(super) fn specs(access: Access) -> Vec<ToolSpec> {
    let path = json!({ "type": "string", "description": "Relative to the top folder of the repository." });
    let mut specs = vec![
        tool(
            "list_files",
            "Lists the files of the repository, or of a folder of it.",
            &json!({ "path": path }),
            &[],
        ),
        tool(
            "search",
            "Searches file contents with a regular expression; answers lines as `path:line:text`.",
            &json!({ "pattern": { "type": "string", "description": "Regular expression (Rust syntax)." }, "path": path }),
            &["pattern"],
        ),
        tool(
            "read_file",
            "Reads a text file; each line has its number before it.",
            &json!({ "path": path, "start_line": line("First line, from 1."), "end_line": line("Last line.") }),
            &["path"],
        ),
    ];
    if access == Access::Change {
        specs.extend([
            tool(
                "write_file",
                "Writes a whole file; missing folders are made.",
                &json!({ "path": path, "content": { "type": "string" } }),
                &["path", "content"],
            ),
            tool(
                "edit_file",
                "Replaces a text that occurs exactly once in the file.",
                &json!({
                    "path": path,
                    "old_text": { "type": "string", "description": "As it stands in the file, without line numbers." },
                    "new_text": { "type": "string" },
                }),
                &["path", "old_text", "new_text"],
            ),
            tool("delete_file", "Deletes a file.", &json!({ "path": path }), &["path"]),
            tool(
                "ask_person",
                "Asks the person who gave the task, and waits for the answer, perhaps for hours. Only for what neither \
                 the task nor the repository can tell and where a wrong guess would make the work useless.",
                &json!({ "question": { "type": "string", "description": "One question that can be answered in a sentence." } }),
                &["question"],
            ),
            tool("run_test", "Runs the test commands of the task and answers what they print.", &json!({}), &[]),
        ]);
    }
    specs
}

fn line(description: &str) -> Value {
    json!({ "type": "integer", "minimum": 1, "description": description })
}

fn tool(name: &str, description: &str, properties: &Value, required: &[&str]) -> ToolSpec {
    ToolSpec {
        name: name.to_owned(),
        description: description.to_owned(),
        input_schema: json!({
            "type": "object", "properties": properties, "required": required, "additionalProperties": false,
        }),
    }
}
