// The version of holdfast, recorded in every manifest. A test holds it against package.json.
export const HOLDFAST_VERSION = '0.1.0';
