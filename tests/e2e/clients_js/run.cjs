// Makes a number of calls with one of Ollama's JavaScript client libraries and prints what the library showed of each:
// a JSON object of {name: {answer, endpoint, model, tokens} or {error}}. Knows nothing of the proxy; checks nothing.
//
//   node run.cjs FOLDER_OF_NODE_MODULES ollama|openai URL
"use strict";

const { createRequire } = require("node:module");

const [folder, library, url] = process.argv.slice(2);
const load = createRequire(`${folder}/package.json`);

const LLM = "llama3.2:1b";
const TOOLS = "calls-tools:latest";
const EMBED = "nomic-embed-text:latest";
const UNKNOWN = "no-such-model";
const TEXTS = ["a proxy", "a server"];
const TOKENS = 64; // without randomness the tiny model never ends by itself
const ROOM_FOR_A_CALL = 400; // tokens: a grammar allows white space
const messages = [{ role: "user", content: "Hello" }];
const city = { type: "object", properties: { city: { enum: ["Paris"] } }, required: ["city"] };
const tools = [{ type: "function", function: { name: "get_weather", description: "Now", parameters: city } }];
// The tiny model would never call a tool: this grammar leaves it nothing else to say, and Ollama's own parser reads it.
const theCall = {
  type: "object",
  properties: { name: { const: "get_weather" }, parameters: city },
  required: ["name", "parameters"],
};

async function all(stream) {
  const parts = [];
  for await (const part of await stream) parts.push(part);
  return parts;
}

function ollamaCalls() {
  const { Ollama } = load("ollama");
  const client = new Ollama({ host: url });
  const options = { temperature: 0, seed: 1, num_predict: TOKENS };
  const seen = (endpoint, last, answer) => ({
    answer,
    endpoint,
    model: last.model,
    tokens: [last.prompt_eval_count ?? 0, last.eval_count ?? 0],
  });
  return {
    chat: async () => {
      const whole = await client.chat({ model: LLM, messages, options, keep_alive: "5m" });
      return seen("/api/chat", whole, whole.message.content);
    },
    chatStreamed: async () => {
      const parts = await all(client.chat({ model: LLM, messages, options, stream: true }));
      return seen("/api/chat", parts.at(-1), parts.map((part) => part.message.content));
    },
    chatThatCallsATool: async () => {
      const room = { ...options, num_predict: ROOM_FOR_A_CALL };
      const whole = await client.chat({ model: TOOLS, messages, tools, format: theCall, options: room });
      const calls = whole.message.tool_calls.map((call) => [call.function.name, call.function.arguments]);
      return seen("/api/chat", { ...whole, model: TOOLS }, calls);
    },
    generate: async () => {
      const whole = await client.generate({ model: LLM, prompt: "Hello", options });
      return seen("/api/generate", whole, whole.response);
    },
    generateStreamed: async () => {
      const parts = await all(client.generate({ model: LLM, prompt: "Hello", options, stream: true }));
      return seen("/api/generate", parts.at(-1), parts.map((part) => part.response));
    },
    embed: async () => {
      const whole = await client.embed({ model: EMBED, input: TEXTS });
      return seen("/api/embed", { ...whole, model: EMBED }, whole.embeddings);
    },
    list: async () => ({ answer: (await client.list()).models.map((model) => model.name).sort() }),
    ps: async () => ({ answer: (await client.ps()).models.map((model) => model.name).sort() }),
    show: async () => ({ answer: (await client.show({ model: LLM })).capabilities }),
    unknownChat: async () => client.chat({ model: UNKNOWN, messages }),
    unknownChatStreamed: async () => all(client.chat({ model: UNKNOWN, messages, stream: true })),
    unknownShow: async () => client.show({ model: UNKNOWN }),
    unknownPull: async () => client.pull({ model: `${new URL(url).host}/library/${UNKNOWN}`, insecure: true }),
  };
}

function openaiCalls() {
  const { OpenAI } = load("openai");
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "unused", maxRetries: 0 });
  const chat = { model: LLM, messages, temperature: 0, seed: 1, max_tokens: TOKENS };
  const seen = (endpoint, { model, usage }, answer) => ({
    answer,
    endpoint,
    model,
    tokens: [usage.prompt_tokens, usage.completion_tokens ?? 0],
  });
  return {
    chat: async () => {
      const whole = await client.chat.completions.create(chat);
      return seen("/v1/chat/completions", whole, whole.choices[0].message.content);
    },
    chatStreamed: async () => {
      const asked = { ...chat, stream: true, stream_options: { include_usage: true } };
      const parts = await all(client.chat.completions.create(asked));
      const said = parts.flatMap((part) => part.choices.map((choice) => choice.delta.content));
      return seen("/v1/chat/completions", parts.at(-1), said);
    },
    chatThatCallsATool: async () => {
      const response_format = { type: "json_schema", json_schema: { name: "call", schema: theCall } };
      const asked = { ...chat, model: TOOLS, tools, response_format, max_tokens: ROOM_FOR_A_CALL };
      const whole = await client.chat.completions.create(asked);
      const calls = whole.choices[0].message.tool_calls.map((call) => call.function);
      const said = calls.map((call) => [call.name, JSON.parse(call.arguments)]);
      return seen("/v1/chat/completions", { ...whole, model: TOOLS }, said);
    },
    completion: async () => {
      const { messages: _, ...asked } = chat;
      const whole = await client.completions.create({ ...asked, prompt: "Hello" });
      return seen("/v1/completions", whole, whole.choices[0].text);
    },
    embeddings: async () => {
      const whole = await client.embeddings.create({ model: EMBED, input: TEXTS });
      return seen("/v1/embeddings", { ...whole, model: EMBED }, whole.data.map((each) => each.embedding));
    },
    response: async () => {
      const asked = { model: LLM, input: "Hello", temperature: 0, max_output_tokens: TOKENS };
      const whole = await client.responses.create(asked);
      const tokens = [whole.usage.input_tokens, whole.usage.output_tokens];
      return { answer: whole.output_text, endpoint: "/v1/responses", model: LLM, tokens };
    },
    models: async () => ({ answer: (await all(client.models.list())).map((model) => model.id).sort() }),
    unknownChat: async () => client.chat.completions.create({ ...chat, model: UNKNOWN }),
    unknownChatStreamed: async () => all(client.chat.completions.create({ ...chat, model: UNKNOWN, stream: true })),
    unknownModel: async () => client.models.retrieve(UNKNOWN),
  };
}

async function main() {
  const calls = { ollama: ollamaCalls, openai: openaiCalls }[library]();
  const results = {};
  for (const [name, call] of Object.entries(calls)) {
    try {
      results[name] = await call();
    } catch (error) {
      const { message } = error;
      results[name] = { error: { class: error.constructor.name, status: error.status ?? error.status_code, message } };
    }
  }
  console.log(JSON.stringify(results));
}

main();
