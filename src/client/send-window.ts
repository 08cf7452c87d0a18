/**
 * QoS 1 publishing that keeps the broker's receive maximum (MQTT 5, 4.9), which MQTT.js does not: a broker may
 * disconnect a client that has more unacknowledged messages under way.
 */
import type { IClientPublishOptions, MqttClient, Packet } from 'mqtt';

/** Also a bound of our own, so that a burst does not pile up in the socket's buffer. */
const MAX_UNDER_WAY = 256;
/** PUBACK reason code: accepted, but nobody subscribes to the topic. */
const NO_MATCHING_SUBSCRIBERS = 16;

/** What the broker said to a message. */
export interface Delivery {
  /** True if the broker knows that nobody subscribes; false if somebody does or the broker does not say. */
  readonly nobody: boolean;
}

export class SendWindow {
  readonly #mqtt: MqttClient;
  #underWay = 0;
  readonly #waiting: (() => void)[] = [];
  readonly #unheard = new Set<number>();
  /** Whether a message has gone to the connection since this was last looked at. */
  #written = false;

  constructor(mqtt: MqttClient) {
    this.#mqtt = mqtt;
    // The publish callback does not get the PUBACK, so its reason is noted as it comes by.
    mqtt.on('packetreceive', (packet) => {
      if (
        packet.cmd === 'puback' &&
        packet.reasonCode === NO_MATCHING_SUBSCRIBERS &&
        packet.messageId !== undefined
      )
        this.#unheard.add(packet.messageId);
    });
    mqtt.on('packetsend', (packet) => {
      if (packet.cmd === 'publish') this.#written = true;
    });
  }

  /** Bytes of the largest message this broker takes. */
  get maxPayloadBytes(): number {
    // Room for the topic, the properties and the header beside the payload.
    return (this.#mqtt.serverProperties?.maximumPacketSize ?? 2 ** 28) - 2048;
  }

  /**
   * Resolves when the broker has taken the message, rejects if it refused it. While the connection is down it waits,
   * and it stays pending if the connection is closed meanwhile: whoever awaits it needs a bound. `onWritten` is called as soon as the
   * message is on its connection, before anything that is written later; not at all where it has to wait for one.
   */
  publish(
    topic: string,
    payload: string | Buffer,
    options: Omit<IClientPublishOptions, 'qos'> = {},
    onWritten?: () => void,
  ): Promise<Delivery> {
    return new Promise((resolve, reject) => {
      const settle = (error?: Error, packet?: Packet) => {
        this.#leave();
        const id = packet?.messageId;
        const nobody = id !== undefined && this.#unheard.delete(id);
        if (error) reject(error);
        else resolve({ nobody });
      };
      const start = () => {
        this.#written = false;
        try {
          this.#mqtt.publish(topic, payload, { ...options, qos: 1 }, settle);
        } catch (error) {
          settle(error as Error);
          return;
        }
        if (this.#written) onWritten?.();
      };
      if (this.#underWay < this.#limit) {
        this.#underWay++;
        start();
      } else this.#waiting.push(start);
    });
  }

  /** The place is handed over, or given back if nobody waits or the broker now allows fewer. */
  #leave(): void {
    const next = this.#underWay <= this.#limit ? this.#waiting.shift() : undefined;
    if (next) next();
    else this.#underWay--;
  }

  get #limit(): number {
    return Math.max(1, Math.min(this.#mqtt.serverProperties?.receiveMaximum ?? MAX_UNDER_WAY, MAX_UNDER_WAY));
  }
}
