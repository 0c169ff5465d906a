import { Icon } from '../shell/icons';
import { Popover } from '../shell/Popover';
import type { SortKey } from '../state/address';
import { columnKinds, columns, setSort, sort } from '../state/view';

const MAX_KEYS = 4;

function replaced(index: number, key: SortKey): SortKey[] {
  return sort.value.map((other, at) => (at === index ? key : other));
}

/** The columns as choices, except for `taken`. */
function Choices({ taken }: { readonly taken: readonly string[] }) {
  const { main, statistics } = columnKinds.value;
  const options = (list: typeof main) =>
    list.filter(({ name }) => !taken.includes(name)).map(({ name }) => <option key={name}>{name}</option>);
  return (
    <>
      {options(main)}
      {statistics.length > 0 && <optgroup label="Statistics">{options(statistics)}</optgroup>}
    </>
  );
}

function Key({ index, sortKey }: { readonly index: number; readonly sortKey: SortKey }) {
  const { column, descending } = sortKey;
  const others = sort.value.map((other) => other.column).filter((name) => name !== column);
  return (
    <div class="sort-row" data-testid="sort-key" data-column={column} data-descending={descending}>
      <span class="quiet">{index === 0 ? 'by' : 'then'}</span>
      <select
        class="input"
        aria-label={`Sort key ${index + 1}`}
        data-testid="sort-column"
        value={column}
        onChange={(event) => void setSort(replaced(index, { column: event.currentTarget.value, descending }))}
      >
        {!columns.value.some(({ name }) => name === column) && <option>{column}</option>}
        <Choices taken={others} />
      </select>
      <button
        type="button"
        class="icon-button bordered"
        aria-label={
          descending ? 'Largest first; switch to smallest first' : 'Smallest first; switch to largest first'
        }
        title={descending ? 'Largest first' : 'Smallest first'}
        data-testid="sort-direction"
        onClick={() => void setSort(replaced(index, { column, descending: !descending }))}
      >
        <Icon name={descending ? 'down' : 'up'} />
      </button>
      <button
        type="button"
        class="icon-button"
        aria-label="Remove this key"
        data-testid="sort-remove"
        onClick={() => void setSort(sort.value.filter((_, at) => at !== index))}
      >
        <Icon name="close" />
      </button>
    </div>
  );
}

/** What the samples are sorted by: any columns, the first counts most. */
export function SortPicker() {
  const [first] = sort.value;
  const label = first ? (
    <>
      <Icon name={first.descending ? 'down' : 'up'} />
      <bdi class="sort-label">{first.column}</bdi>
      {sort.value.length > 1 && <span class="quiet">+{sort.value.length - 1}</span>}
    </>
  ) : (
    <>
      <Icon name="down" /> Sort
    </>
  );
  return (
    <Popover label={label} title="Sort" testId="sort" buttonClass="button sort-button">
      <h3>Sort</h3>
      {sort.value.map((key, index) => (
        <Key key={key.column} index={index} sortKey={key} />
      ))}
      {sort.value.length < MAX_KEYS && (
        <select
          class="input wide"
          aria-label="Add a sort key"
          data-testid="sort-add"
          value=""
          onChange={(event) => {
            const column = event.currentTarget.value;
            event.currentTarget.value = '';
            if (column) void setSort([...sort.value, { column, descending: true }]);
          }}
        >
          <option value="">{sort.value.length ? 'Then by …' : 'Choose a column …'}</option>
          <Choices taken={sort.value.map(({ column }) => column)} />
        </select>
      )}
      {sort.value.length > 0 && (
        <button type="button" class="link" data-testid="sort-clear" onClick={() => void setSort([])}>
          In the order of the data set
        </button>
      )}
      <p class="quiet">Samples without a value come last.</p>
    </Popover>
  );
}
