// What k6 has without an import, as far as the scripts use it. Not TypeScript's "dom":
// k6 is no browser, and what it lacks must not pass.

declare const console: { warn(text: string): void; error(text: string): void };

declare const crypto: {
  subtle: {
    importKey(format: 'jwk', key: object, algorithm: object, extractable: boolean, usages: string[]): Promise<object>;
    verify(algorithm: object, key: object, signature: ArrayBuffer, data: Uint8Array): Promise<boolean>;
  };
};
