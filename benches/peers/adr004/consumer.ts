// The billing loop of ADR-004: a durable consumer, explicit acknowledgements, and for each message
// one transaction that inserts the receipt unless it is there and adds one to its brand's usage.
//
//   node built/consumer.js NATS_URL DATABASE_URL STREAM EVENTS
//
// Prints what it took as one line of JSON.
import { AckPolicy, connect } from "nats";
import pg from "pg";

const TABLES = `
  create table receipt (
    receipt_id text primary key, brand text not null, predicate text not null, supplier text,
    product text, result boolean, verified_at timestamptz not null);
  create table usage (
    brand text, usage_day date, predicate text, receipts bigint not null,
    primary key (brand, usage_day, predicate)) with (fillfactor = 70)`;

interface Verified {
  receiptId: string;
  predicateId: string;
  brandId: string;
  supplierId?: string;
  productRef?: string;
  result?: boolean;
  verifiedAt: string;
}

const [natsUrl, databaseUrl, stream, wanted] = process.argv.slice(2);
const events = Number(wanted);
const bus = await connect({ servers: natsUrl });
const database = new pg.Client({ connectionString: databaseUrl });
await database.connect();
await database.query(TABLES);
const manager = await bus.jetstreamManager();
const name = "billing-processor-peer";
await manager.consumers.add(stream, {
  durable_name: name,
  ack_policy: AckPolicy.Explicit,
  filter_subject: "proofs.verified",
});
const consumer = await bus.jetstream().consumers.get(stream, name);
const messages = await consumer.consume({ max_messages: 500 });

let read = 0;
let began = process.hrtime.bigint();
let cpu = process.cpuUsage();
for await (const message of messages) {
  if (read === 0) {
    began = process.hrtime.bigint();
    cpu = process.cpuUsage();
  }
  const event = verified(message.data);
  if (event) await meter(event);
  message.ack();
  read += 1;
  if (read === events) break;
}
const seconds = Number(process.hrtime.bigint() - began) / 1e9;
const used = process.cpuUsage(cpu);
const memory = process.resourceUsage().maxRSS * 1024;
await manager.consumers.delete(stream, name);
await bus.close();
await database.end();
console.log(JSON.stringify({ seconds, cpu_micros: used.user + used.system, memory }));

// Both shapes that are in the stream; what is malformed is dropped: this loop is simple.
function verified(data: Uint8Array): Verified | undefined {
  try {
    const body = JSON.parse(new TextDecoder().decode(data));
    const { payload } = body;
    const event: Verified = payload
      ? {
          ...payload,
          predicateId: `${payload.predicateId.name}@${payload.predicateId.version}`,
          brandId: payload.requesterId,
          productRef: payload.productBinding,
          verifiedAt: body.timestamp,
        }
      : body;
    const isWhole = [event.receiptId, event.predicateId, event.brandId].every(
      (text) => typeof text === "string",
    );
    return isWhole && !Number.isNaN(Date.parse(event.verifiedAt)) ? event : undefined;
  } catch {
    return undefined;
  }
}

async function meter(event: Verified): Promise<void> {
  await database.query("begin");
  const inserted = await database.query({
    name: "insert receipt",
    text: `insert into receipt values ($1, $2, $3, $4, $5, $6, $7)
      on conflict (receipt_id) do nothing`,
    values: [
      event.receiptId,
      event.brandId,
      event.predicateId,
      event.supplierId,
      event.productRef,
      event.result,
      event.verifiedAt,
    ],
  });
  if (inserted.rowCount === 1) {
    await database.query({
      name: "add usage",
      text: `insert into usage as u values ($1, ($2::timestamptz at time zone 'UTC')::date, $3, 1)
        on conflict (brand, usage_day, predicate) do update set receipts = u.receipts + 1`,
      values: [event.brandId, event.verifiedAt, event.predicateId],
    });
  }
  await database.query("commit");
}
