import { create, type DescMessage, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import * as rpc from './gen/rpc_pb.js';

/** A message's fields under their proto names; a oneof as Go shows it: its name, then the choice in camel case. */
type MessageFields = { readonly [name: string]: unknown };

/** The bytes of one of etcd's own messages, such as `RangeResponse`. For tools that print them. */
export function encodeMessage(name: string, fields: MessageFields): Uint8Array {
  const schema = (rpc as Readonly<Record<string, unknown>>)[`${name}Schema`] as DescMessage | undefined;
  if (!schema) throw new TypeError(`${name}: expected the name of a message of etcd's`);
  return toBinary(schema, build(schema, fields));
}

function build(schema: DescMessage, fields: MessageFields): MessageShape<DescMessage> {
  const message = create(schema);
  fill(reflect(schema, message), fields);
  return message;
}

function fill(target: ReflectMessage, fields: MessageFields): void {
  for (const [name, value] of Object.entries(fields)) {
    const oneof = target.desc.oneofs.find((one) => one.name === snake(name));
    if (oneof) {
      const [[choice, inner]] = Object.entries(value as MessageFields) as [[string, unknown]];
      fill(target, { [snake(choice)]: inner });
      continue;
    }
    const field = target.desc.fields.find((one) => one.name === name);
    if (!field) throw new TypeError(`${target.desc.name} has no field ${name}`);
    if (field.fieldKind === 'message') {
      target.set(field, reflect(field.message, build(field.message, value as MessageFields)));
    } else if (field.fieldKind === 'list') {
      const list = target.get(field);
      for (const one of value as readonly unknown[]) {
        list.add(
          field.listKind === 'message'
            ? reflect(field.message, build(field.message, one as MessageFields))
            : scalar(one, field.listKind === 'scalar' ? field.scalar : undefined),
        );
      }
    } else target.set(field, scalar(value, field.fieldKind === 'scalar' ? field.scalar : undefined));
  }
}

/** protobuf's numbers for the 64-bit scalar types: int64, uint64, fixed64, sfixed64, sint64. */
const LONG_SCALARS: ReadonlySet<number> = new Set([3, 4, 6, 16, 18]);

function scalar(value: unknown, type: number | undefined): unknown {
  return typeof value === 'number' && type !== undefined && LONG_SCALARS.has(type) ? BigInt(value) : value;
}

function snake(name: string): string {
  return name.replace(/([a-z])([A-Z])/g, '$1_$2').toLowerCase();
}
