import { type Group, verb } from '../line/command.ts';
import { bool, string } from '../line/flag.ts';

const NAMESPACE = string('Namespace of the service', 'default');
export const SERVICE_FLAGS = { namespace: NAMESPACE };
export const DRAIN_FLAGS = {
  namespace: NAMESPACE,
  undo: bool('take the override away again'),
};

const FORMATS = ['simple', 'json', 'table'] as const;

export const SERVICE: Group = {
  name: 'service',
  summary: 'Services registered with Muster',
  children: [
    verb({
      name: 'drain',
      summary: 'Marks an instance as draining, so that clients leave it',
      usage: '<service> <instance>',
      flags: DRAIN_FLAGS,
      formats: FORMATS,
      load: async () => (await import('../commands/service.ts')).serviceDrain,
    }),
    verb({
      name: 'list',
      summary: 'Lists the services and how many instances they have',
      usage: '',
      flags: SERVICE_FLAGS,
      formats: FORMATS,
      load: async () => (await import('../commands/service.ts')).serviceList,
    }),
    verb({
      name: 'show',
      summary: 'Lists the instances of a service',
      usage: '<service>',
      flags: SERVICE_FLAGS,
      formats: FORMATS,
      load: async () => (await import('../commands/service.ts')).serviceShow,
    }),
    verb({
      name: 'watch',
      summary: 'Prints each change of the instances of a service',
      usage: '<service>',
      flags: SERVICE_FLAGS,
      formats: ['simple', 'json'],
      load: async () => (await import('../commands/service.ts')).serviceWatch,
    }),
  ],
};
