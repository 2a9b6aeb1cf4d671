import { useRef } from 'preact/hooks';
import { addressOf } from '../feed.ts';
import { filter, loaded, now, type Row, rows, services } from '../store.ts';
import { spanText } from '../time.ts';

const COLUMNS = ['Instance', 'Status', 'Health', 'Address', 'Zone', 'Lease', 'Age'] as const;

export function Services() {
  const shown = services.value;
  const alive = [...rows.value.values()].filter((row) => !row.gone).length;
  return (
    <section class="services" aria-labelledby="services-title">
      <div class="card-head">
        <h2 id="services-title">Services</h2>
        <span class="muted">{loaded.value ? countText(shown.size, alive) : 'Loading'}</span>
        <Filter />
      </div>
      {[...shown].map(([name, list]) => (
        <Service key={name} name={name} rows={list} />
      ))}
      {loaded.value && shown.size === 0 && <Nothing />}
    </section>
  );
}

function countText(serviceCount: number, instances: number): string {
  return `${serviceCount} ${serviceCount === 1 ? 'service' : 'services'}, ${instances} ${instances === 1 ? 'instance' : 'instances'}`;
}

function Filter() {
  const input = useRef<HTMLInputElement>(null);
  return (
    <input
      ref={input}
      class="filter"
      id="filter"
      type="search"
      placeholder="Filter   /"
      aria-label="Filter services"
      aria-keyshortcuts="/"
      value={filter.value}
      onInput={(event) => {
        filter.value = event.currentTarget.value;
      }}
      onKeyDown={(event) => {
        if (event.key !== 'Escape') return;
        filter.value = '';
        input.current?.blur();
      }}
    />
  );
}

function Nothing() {
  const example = `curl -X PUT ${location.host}/v1/services/hello/instances/h1 -H 'content-type: application/json' -d '{"address":"127.0.0.1","port":8080,"ttl":"60s"}'`;
  return (
    <div class="card nothing">
      <p>{filter.value === '' ? 'No service is registered yet. Try:' : 'Nothing matches the filter.'}</p>
      {filter.value === '' && <code>{example}</code>}
    </div>
  );
}

function Service({ name, rows: list }: { readonly name: string; readonly rows: readonly Row[] }) {
  const up = list.filter((row) => !row.gone && row.instance.status === 'up').length;
  const present = list.filter((row) => !row.gone).length;
  return (
    <article class="card service" aria-label={`Service ${name}`}>
      <div class="card-head">
        <h3>{name}</h3>
        <span class="muted">
          {up} of {present} up
        </span>
      </div>
      <table aria-label={`Instances of ${name}`}>
        <thead>
          <tr class="row head">
            {COLUMNS.map((title) => (
              <th key={title} scope="col">
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {list.map((row) => (
            <InstanceRow key={row.instance.id} row={row} />
          ))}
        </tbody>
      </table>
    </article>
  );
}

function InstanceRow({ row }: { readonly row: Row }) {
  const { instance, gone, flash, firstSeenMs } = row;
  const state = gone ?? (instance.suspect ? 'suspect' : instance.status);
  const title = [instance.version && `version ${instance.version}`, ...instance.tags]
    .filter(Boolean)
    .join(', ');
  return (
    <tr
      class={`row flash-${flash === 0 ? 'none' : flash % 2}`}
      data-instance={instance.id}
      data-state={state}
      title={title}
    >
      <td class="id">{instance.id}</td>
      <td>
        <span class="status">{gone ? 'gone' : state}</span>
      </td>
      <td class="health" data-health={gone ? 'unknown' : instance.health}>
        <span class="dot" aria-hidden="true" />
        {gone ? '' : instance.health}
      </td>
      <td class="address">{addressOf(instance)}</td>
      <td class="minor">{instance.zone ?? ''}</td>
      <td class="minor">{instance.ttl === undefined ? '' : `${instance.ttl} s`}</td>
      <td class="minor">{gone ? '' : spanText(now.value - firstSeenMs)}</td>
    </tr>
  );
}
