// esbuild loads these fragments as text, so script and server say the same words.
declare module '*.html' {
  const text: string;
  export default text;
}
