import { useRef, useState } from 'preact/hooks';
import type { Hyperparameter } from '../proto/weightslab/v1/experiment_pb';
import { setHyperparameter, status } from '../state/run';

/** A value from JSON as a person writes it. */
export function readable(json: string): string {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === 'string' ? value : String(value);
  } catch {
    return json;
  }
}

/** What a person wrote, as JSON of the parameter's type; text that is no such value is sent as it is. */
export function asJson(text: string, type: string): string {
  const trimmed = text.trim();
  if (type === 'str') return JSON.stringify(text);
  if (type === 'bool') return trimmed.toLowerCase();
  const number = Number(trimmed);
  return trimmed !== '' && Number.isFinite(number) ? JSON.stringify(number) : JSON.stringify(trimmed);
}

function Field({ parameter }: { readonly parameter: Hyperparameter }) {
  const { name, requestedJson, appliedJson, type } = parameter;
  const [draft, setDraft] = useState<string | null>(null);
  const [error, setError] = useState('');
  const sending = useRef(false);
  const requested = readable(requestedJson || appliedJson);
  const pending = requestedJson !== '' && requestedJson !== appliedJson;

  const send = async (text: string) => {
    if (sending.current || text === requested) {
      setDraft(null);
      return;
    }
    sending.current = true;
    const refusal = await setHyperparameter(name, asJson(text, type));
    sending.current = false;
    setError(refusal);
    if (!refusal) setDraft(null);
  };
  const shared = {
    class: 'input',
    'aria-label': name,
    'aria-invalid': error !== '',
    'data-testid': 'hp-input',
    'data-name': name,
  };
  return (
    <div class="parameter">
      <div class="parameter-row">
        <span class="parameter-name" title={`${name} (${type})`}>
          {name}
        </span>
        {type === 'bool' ? (
          <input
            {...shared}
            class=""
            type="checkbox"
            checked={requested === 'true'}
            onChange={(event) => void send(String(event.currentTarget.checked))}
          />
        ) : (
          <input
            {...shared}
            type="text"
            inputMode={type === 'str' ? 'text' : 'decimal'}
            value={draft ?? requested}
            onInput={(event) => setDraft(event.currentTarget.value)}
            onBlur={(event) => draft !== null && !error && void send(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key === 'Enter') void send(event.currentTarget.value);
              if (event.key === 'Escape') {
                setDraft(null);
                setError('');
                event.stopPropagation();
              }
            }}
          />
        )}
      </div>
      {pending && !error && (
        <p class="quiet parameter-note" data-testid="hp-pending">
          applied: {readable(appliedJson) || 'not yet'}
        </p>
      )}
      {error && (
        <p class="field-error" role="alert" data-testid="hp-error">
          {error}
        </p>
      )}
    </div>
  );
}

function Value({ parameter: { name, appliedJson } }: { readonly parameter: Hyperparameter }) {
  return (
    <div class="parameter-row">
      <span class="parameter-name">{name}</span>
      <output data-testid="hp-value">{readable(appliedJson)}</output>
    </div>
  );
}

export function Hyperparameters({ readOnly }: { readonly readOnly: boolean }) {
  const parameters = status.value?.hyperparameters ?? [];
  if (parameters.length === 0) return null;
  return (
    <div class="group" data-testid="hyperparameters">
      <h3>Hyperparameters</h3>
      {parameters.map((parameter) =>
        readOnly ? (
          <Value key={parameter.name} parameter={parameter} />
        ) : (
          <Field key={parameter.name} parameter={parameter} />
        ),
      )}
    </div>
  );
}
