/**
 * Acknowledges requests when their answer is delivered, not when they arrive (MQTT 5, QoS 1): a node that dies owes the broker what it had,
 * and the broker never has more under way to a node than the node allows (receive maximum). MQTT.js acknowledges after handleMessage(), one
 * message after the other; here the acknowledgement is held back and sent later, on the connection the message came on.
 */
import type { IPublishPacket, MqttClient } from 'mqtt';

/** Tells MQTT.js to go on without an acknowledgement. */
const HELD = new Error('acknowledged later');

/** What MQTT.js has for this and does not export. */
interface PacketSender {
  _sendPacket(packet: { cmd: 'puback'; messageId: number; reasonCode: number }): void;
}

export class Inbox {
  readonly #mqtt: MqttClient;
  readonly #held = new WeakSet<IPublishPacket>();
  #holding = 0;

  constructor(mqtt: MqttClient) {
    this.#mqtt = mqtt;
    mqtt.handleMessage = (packet, callback) => callback(this.#held.has(packet) ? HELD : undefined);
  }

  /** Messages that are not acknowledged yet. */
  get holding(): number {
    return this.#holding;
  }

  /** Holds the acknowledgement of a message back; called in the 'message' event. The returned function sends it, once. */
  hold(packet: IPublishPacket): () => void {
    const { messageId } = packet;
    if (packet.qos !== 1 || messageId === undefined || this.#mqtt.options.protocolVersion !== 5)
      return () => undefined;
    this.#held.add(packet);
    this.#holding++;
    const { stream } = this.#mqtt;
    let sent = false;
    return () => {
      if (sent) return;
      sent = true;
      this.#holding--;
      // On another connection the number may mean another message.
      if (this.#mqtt.stream !== stream || !this.#mqtt.connected) return;
      (this.#mqtt as unknown as PacketSender)._sendPacket({ cmd: 'puback', messageId, reasonCode: 0 });
    };
  }
}
