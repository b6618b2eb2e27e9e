//! Chat templates: how a conversation becomes one prompt.

use super::{TextError, jinja};
use crate::weights::Gguf;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions that stand above the conversation.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// The answer of a tool that the model called.
    Tool,
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

impl Message {
    /// A turn.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into() }
    }
}

/// A template with the names of the special tokens that it writes.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatTemplate {
    source: String,
    origin: String,
    tokens: BTreeMap<String, String>,
}

impl ChatTemplate {
    /// A template in Jinja. `origin` is what errors call it; `tokens` are its variables, as `bos_token` -> `<s>`.
    /// Fails where the template does not compile.
    pub fn new(source: &str, origin: &str, tokens: BTreeMap<String, String>) -> Result<Self, TextError> {
        let this = Self { source: jinja::prepare(source), origin: origin.to_owned(), tokens };
        jinja::environment().template_from_str(&this.source).map_err(|e| this.fault(&e))?;
        Ok(this)
    }

    /// The template of a checkpoint folder: `chat_template.jinja`, else the one in `tokenizer_config.json`, of which
    /// the one called `default` where there are several. `None` where there is none.
    pub fn from_folder(folder: &Path) -> Result<Option<Self>, TextError> {
        let path = folder.join("tokenizer_config.json");
        let settings: Settings = super::defaults::read_json(&path)?.unwrap_or_default();
        let tokens = settings.tokens();
        let file = folder.join("chat_template.jinja");
        if file.exists() {
            let source = std::fs::read_to_string(&file);
            let source = source.map_err(|source| TextError::Io { path: file.clone(), source })?;
            return Self::new(&source, &file.display().to_string(), tokens).map(Some);
        }
        let source = match settings.chat_template {
            None => return Ok(None),
            Some(Templates::One(source)) => source,
            Some(Templates::Several(named)) => {
                let names: Vec<_> = named.iter().map(|t| t.name.clone()).collect();
                let default = named.into_iter().find(|t| t.name == "default");
                let what =
                    || format!("none of its chat templates is called `default`, only {}", names.join(", "));
                default.ok_or_else(|| TextError::Settings { path: path.clone(), what: what() })?.template
            }
        };
        Self::new(&source, &path.display().to_string(), tokens).map(Some)
    }

    /// The template inside a GGUF file; `None` where there is none.
    pub fn from_gguf(file: &Gguf) -> Result<Option<Self>, TextError> {
        let fault = |what: String| TextError::Tokenizer { path: file.path().to_owned(), what };
        let Some(value) = file.get("tokenizer.chat_template") else { return Ok(None) };
        let source = value.as_str().ok_or_else(|| {
            fault(format!("`tokenizer.chat_template` is {}; expected a string", value.kind()))
        })?;
        let names = file.get("tokenizer.ggml.tokens").and_then(|v| v.as_strings()).unwrap_or_default();
        let mut tokens = BTreeMap::new();
        for (key, variable) in
            [("bos", "bos_token"), ("eos", "eos_token"), ("padding", "pad_token"), ("unknown", "unk_token")]
        {
            let id = file.get(&format!("tokenizer.ggml.{key}_token_id")).and_then(|v| v.as_u64());
            if let Some(name) = id.and_then(|id| names.get(usize::try_from(id).ok()?)) {
                tokens.insert(variable.to_owned(), name.clone());
            }
        }
        Self::new(source, &file.path().display().to_string(), tokens).map(Some)
    }

    /// The prompt of a conversation; with `answer`, up to where the model's own turn begins.
    ///
    /// Fails where the template refuses the conversation (two user turns in a row, say) with what it says.
    pub fn render(&self, messages: &[Message], answer: bool) -> Result<String, TextError> {
        let context = Context { messages, add_generation_prompt: answer, tokens: &self.tokens };
        jinja::environment()
            .render_str(&self.source, minijinja::value::Serde(&context))
            .map_err(|e| self.fault(&e))
    }

    fn fault(&self, error: &minijinja::Error) -> TextError {
        let what = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
        TextError::Template { origin: self.origin.clone(), line: error.line(), what }
    }
}

#[derive(Serialize)]
struct Context<'a> {
    messages: &'a [Message],
    add_generation_prompt: bool,
    #[serde(flatten)]
    tokens: &'a BTreeMap<String, String>,
}

/// What `tokenizer_config.json` says that matters here.
#[derive(Default, Deserialize)]
struct Settings {
    chat_template: Option<Templates>,
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Templates {
    One(String),
    Several(Vec<Named>),
}

#[derive(Deserialize)]
struct Named {
    name: String,
    template: String,
}

impl Settings {
    /// The special tokens, written as a string or as an object with the string in `content`.
    fn tokens(&self) -> BTreeMap<String, String> {
        let text =
            |v: &serde_json::Value| v.as_str().or_else(|| v.get("content")?.as_str()).map(str::to_owned);
        let named = self.rest.iter().filter(|(key, _)| key.ends_with("_token") && !key.starts_with("add_"));
        named.filter_map(|(key, value)| Some((key.clone(), text(value)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHATML: &str =
        "{%- for m in messages %}\n    {{- bos_token }}[{{ m['role'] }}]{{ m.content.strip() }}\n{% endfor %}
{%- if add_generation_prompt %}[assistant]{% endif %}";

    fn write(folder: &Path, name: &str, text: &str) {
        std::fs::write(folder.join(name), text).unwrap();
    }

    fn talk() -> Vec<Message> {
        vec![Message::new(Role::System, " Be brief. "), Message::new(Role::User, "Hi")]
    }

    #[test]
    fn renders_with_tokens_and_python_methods() {
        let tokens = BTreeMap::from([("bos_token".to_owned(), "<s>".to_owned())]);
        let template = ChatTemplate::new(CHATML, "here", tokens).unwrap();
        assert_eq!(template.render(&talk(), true).unwrap(), "<s>[system]Be brief.\n<s>[user]Hi\n[assistant]");
        assert_eq!(template.render(&talk()[1..], false).unwrap(), "<s>[user]Hi\n");
    }

    #[test]
    fn reads_every_place_a_template_may_stand_in() {
        let dir = tempfile::tempdir().unwrap();
        let at = |x: &str| {
            ChatTemplate::from_folder(dir.path()).unwrap().map(|t| t.render(&talk(), true).unwrap() == x)
        };
        assert_eq!(at(""), None);
        write(dir.path(), "tokenizer_config.json", r#"{"bos_token":{"content":"<b>"},"eos_token":null}"#);
        assert_eq!(at(""), None);
        write(
            dir.path(),
            "tokenizer_config.json",
            r#"{"bos_token":{"content":"<b>"},"chat_template":"one{{ bos_token }}"}"#,
        );
        assert_eq!(at("one<b>"), Some(true));
        let several =
            r#"{"chat_template":[{"name":"tool_use","template":"t"},{"name":"default","template":"d"}]}"#;
        write(dir.path(), "tokenizer_config.json", several);
        assert_eq!(at("d"), Some(true));
        write(dir.path(), "chat_template.jinja", "file");
        assert_eq!(at("file"), Some(true));
    }

    #[test]
    fn says_what_a_template_refuses() {
        let refuse =
            "{% if messages[0].role == 'system' %}\n{{ raise_exception('no system turn here') }}{% endif %}";
        let template = ChatTemplate::new(refuse, "x.gguf", BTreeMap::new()).unwrap();
        let error = template.render(&talk(), true).unwrap_err().to_string();
        assert_eq!(error, "the chat template of x.gguf failed in line 2: no system turn here");
        let error = ChatTemplate::new("{% for %}", "y", BTreeMap::new()).unwrap_err().to_string();
        assert!(error.starts_with("the chat template of y failed in line 1: "), "{error}");
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "tokenizer_config.json", r#"{"chat_template":[{"name":"rag","template":""}]}"#);
        let error = ChatTemplate::from_folder(dir.path()).unwrap_err().to_string();
        assert!(error.contains("none of its chat templates is called `default`, only rag"), "{error}");
        write(dir.path(), "tokenizer_config.json", "{");
        assert!(
            ChatTemplate::from_folder(dir.path()).unwrap_err().to_string().contains("tokenizer_config.json")
        );
    }
}
