import { render } from 'preact';
import './styles/tokens.css';
import './styles/base.css';
import './styles/shell.css';
import './styles/panels.css';
import './styles/samples.css';
import { App } from './shell/App';
import { start } from './state/session';
import { begin } from './state/studio';

const root = document.getElementById('app');
if (root) render(<App />, root);
begin();
void start();
