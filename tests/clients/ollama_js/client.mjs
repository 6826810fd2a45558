// Ollama's own JavaScript client, unchanged. `node client.mjs URL KEY MODEL`: each check prints its name when it holds.
import assert from 'node:assert/strict'
import { Ollama } from 'ollama'

const [url, key, model] = process.argv.slice(2)
const client = new Ollama({ host: url, headers: { Authorization: `Bearer ${key}` } })
const count = [{ role: 'user', content: 'Count from 1 to 5, separated by spaces.' }]
const options = { temperature: 0, seed: 1, num_predict: 12 }
const weather = {
  type: 'function',
  function: {
    name: 'get_weather',
    description: 'Get the current weather in a city',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
}
const person = {
  type: 'object',
  properties: { name: { type: 'string' }, age: { type: 'integer' } },
  required: ['name', 'age'],
}

async function refused(promise, status, words) {
  await assert.rejects(promise, (error) => {
    assert.equal(error.name, 'ResponseError')
    assert.equal(error.status_code, status)
    assert.match(error.message, words)
    return true
  })
}

const checks = {
  async 'a chat and its stream say the same'() {
    const whole = await client.chat({ model, messages: count, options })
    assert.match(whole.message.content, /1 2 3/)
    assert.equal(whole.done_reason, 'stop')
    const parts = []
    for await (const part of await client.chat({ model, messages: count, options, stream: true })) parts.push(part)
    assert.ok(parts.length > 3 && parts.at(-1).done)
    assert.equal(parts.map((part) => part.message.content).join(''), whole.message.content)
  },
  async 'a generation'() {
    const said = await client.generate({ model, prompt: '1, 2, 3,', raw: true, options })
    assert.ok(said.response.length > 0 && said.eval_count > 0)
  },
  async 'a stream is given up'() {
    const stream = await client.generate({ model, prompt: 'A long story.', stream: true, options: { num_predict: 400 } })
    await assert.rejects(
      async () => {
        for await (const part of stream) if (part.response) stream.abort()
      },
      { name: 'AbortError' },
    )
  },
  async 'a tool is called and its result is used'() {
    const ask = [{ role: 'user', content: 'What is the weather in Paris? Use the tool.' }]
    const asked = { model, tools: [weather], options: { ...options, num_predict: 64 } }
    const said = await client.chat({ ...asked, messages: ask })
    assert.deepEqual(said.message.tool_calls[0].function.arguments, { city: 'Paris' })
    const result = { role: 'tool', tool_name: 'get_weather', content: '22 degrees and sunny' }
    const after = await client.chat({ ...asked, tools: undefined, messages: [...ask, said.message, result] })
    assert.match(after.message.content, /22/)
  },
  async 'a schema is kept'() {
    const messages = [{ role: 'user', content: 'Ada is 36 years old. Answer in JSON with her name and age.' }]
    const said = await client.chat({ model, messages, format: person, options: { ...options, num_predict: 64 } })
    assert.equal(JSON.parse(said.message.content).age, 36)
  },
  async 'texts become vectors'() {
    const { embeddings } = await client.embed({ model, input: ['a cat', 'a kitten'] })
    assert.equal(embeddings.length, 2)
    assert.ok(Math.abs(embeddings[0].reduce((sum, x) => sum + x * x, 0) - 1) < 1e-3)
    const { embedding } = await client.embeddings({ model, prompt: 'a cat' })
    assert.equal(embedding.length, embeddings[0].length)
  },
  async 'models are listed, shown and seen at work'() {
    assert.ok((await client.list()).models.some((entry) => entry.name === model))
    assert.ok((await client.show({ model })).capabilities.includes('completion'))
    assert.ok((await client.ps()).models.some((entry) => entry.name === model))
    assert.ok((await client.version()).version)
  },
  async 'a model is made, copied and deleted'() {
    const steps = []
    const made = await client.create({ model: 'peach', from: model, system: 'You are Peach.', stream: true })
    for await (const part of made) steps.push(part.status)
    assert.equal(steps.at(-1), 'success')
    assert.equal((await client.show({ model: 'peach' })).system, 'You are Peach.')
    await client.copy({ source: 'peach', destination: 'daisy' })
    for (const name of ['peach', 'daisy']) assert.equal((await client.delete({ model: name })).status, 'success')
    await refused(client.show({ model: 'peach' }), 404, /not found/)
  },
  async 'errors are the client\'s own'() {
    await refused(client.chat({ model: 'nope', messages: count }), 404, /model 'nope' not found/)
    await refused(client.chat({ model: 'nope', messages: count, stream: true }), 404, /model 'nope' not found/)
    await refused(client.chat({ model, messages: count, think: true }), 400, /does not support thinking/)
    const stranger = new Ollama({ host: url, headers: { Authorization: 'Bearer corral_wrong' } })
    await refused(stranger.list(), 401, /./)
  },
}

for (const [name, check] of Object.entries(checks)) {
  await check()
  console.log(`ok ${name}`)
}
console.log(`all ${Object.keys(checks).length}`)
