import { useState } from 'preact/hooks';
import { foundFields, fullText, nameBelow, sampleJson, shortText } from './fields';
import type { SampleDetail, SampleField } from './types';

function named(fields: readonly SampleField[]) {
  const names = fields.map(({ name }) => name);
  return fields.map((field) => ({ ...field, ...nameBelow(field.name, names) }));
}

/** The fields of a sample: searched by typing, copied by a click. */
export function Metadata({ sample }: { readonly sample: SampleDetail }) {
  const [search, setSearch] = useState('');
  const [copied, setCopied] = useState('');
  const copy = async (name: string, text: string) => {
    try {
      await navigator.clipboard.writeText(text);
      setCopied(`${name} copied`);
    } catch {
      setCopied('The browser does not allow copying here');
    }
  };
  const groups = foundFields(sample.fields, search);
  return (
    <section class="modal-meta" aria-label="Metadata">
      <div class="modal-meta-bar">
        <input
          type="search"
          placeholder="Find in metadata"
          aria-label="Find in metadata"
          data-testid="modal-meta-search"
          value={search}
          onInput={(event) => setSearch(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key !== 'Escape' || search === '') return;
            event.stopPropagation();
            setSearch('');
          }}
        />
        <button
          type="button"
          class="modal-button"
          data-testid="modal-copy-all"
          onClick={() => void copy('Everything', sampleJson(sample))}
        >
          Copy all
        </button>
      </div>
      <div class="modal-meta-list">
        {groups.length === 0 && <p class="modal-empty">Nothing matches.</p>}
        {groups.map(({ group, fields }) => (
          <table key={group}>
            <caption>{group}</caption>
            <tbody>
              {named(fields).map(({ name, value, text, below }) => (
                <tr
                  key={name}
                  data-testid="modal-field"
                  data-name={name}
                  class={below ? 'is-below' : undefined}
                >
                  <th scope="row" title={name}>
                    {text}
                  </th>
                  <td>
                    <button
                      type="button"
                      title={`${fullText(value)}\nClick to copy`}
                      onClick={() => void copy(name, fullText(value))}
                    >
                      {shortText(value)}
                    </button>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        ))}
      </div>
      <p class="modal-copied" role="status">
        {copied}
      </p>
    </section>
  );
}
